/** Mount namespaces that others made meanwhile have a copy of every mount, and keep the filesystem alive after its unmount: they are taken out of there. */
import { execFile } from 'node:child_process';
import { mountsElsewhere } from '../../src/block/mount-namespaces.js';
import { mountAt } from '../../src/fuse/mountinfo.js';

/** The device number of what is mounted on an absolute path, as /proc/self/mountinfo has it. */
export function deviceAt(mountpoint: string): string | undefined {
  const mount = mountAt(mountpoint);
  return mount === undefined ? undefined : `${mount.major}:${mount.minor}`;
}

/** What was found, for people, and whether nothing is left of it. */
export interface Detached {
  readonly lines: readonly string[];
  readonly all: boolean;
}

/**
 * Detach the copies of a mount that was unmounted here, so that its daemon can end. Only root can, and not where another mount hides it there.
 * @param device its number, from before the unmount
 */
export async function detachCopies(device: string | undefined): Promise<Detached> {
  const lines: string[] = [];
  let all = true;
  for (const { pid, comm, mountpoint } of mountsElsewhere((mount) => mount.device === device)) {
    const failure = await detach(pid, mountpoint);
    if (failure !== '') all = false;
    const outcome = failure === '' ? 'it was detached' : `it could not be detached: ${failure}`;
    lines.push(`${mountpoint} was still mounted in the namespace of process ${pid} (${comm}); ${outcome}`);
  }
  return { lines, all };
}

/** @returns why it could not be done, in one line */
function detach(pid: string, mountpoint: string): Promise<string> {
  const args = ['-t', pid, '-m', 'umount', '-l', mountpoint];
  return new Promise((resolve) => {
    execFile('nsenter', args, { timeout: 30_000, killSignal: 'SIGKILL' }, (error, _stdout, stderr) =>
      resolve(error === null ? '' : stderr.trim() || error.message),
    );
  });
}
