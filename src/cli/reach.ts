/** Whether the things that a command line names can be reached at all; what they are is for others to see. */
import { accessSync, constants, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { CliError } from './error.js';

/** How much of a name that is too long is shown. */
const SHOWN = 64;

/** The first directory on the way to a path that this process may not enter; undefined where a symbolic link leads through it. */
function closedOn(path: string): string | undefined {
  const above: string[] = [];
  for (let dir = dirname(resolve(path)); above[0] !== dir; dir = dirname(dir)) above.unshift(dir);
  return above.find((dir) => {
    try {
      accessSync(dir, constants.X_OK);
      return false;
    } catch {
      return true;
    }
  });
}

/**
 * See that there is a way to a path, whether or not anything is there.
 * @throws CliError naming what is in the way: a directory that may not be entered, a circle of symbolic links, a name that is too long
 */
export function checkReachable(path: string): void {
  try {
    statSync(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EACCES') {
      const closed = closedOn(path) ?? 'a directory on the way to it';
      throw new CliError(`${path} cannot be reached: this user may not enter ${closed}; choose another place`);
    }
    if (code === 'ELOOP')
      throw new CliError(
        `${path} cannot be reached: the symbolic links on the way to it never end; choose another path`,
      );
    if (code === 'ENAMETOOLONG')
      throw new CliError(`${path.slice(0, SHOWN)}… is too long for a path; choose a shorter one`);
  }
}
