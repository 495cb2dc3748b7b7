/** Which filesystem a mount is of: latch, another that comes with it, or a module of the user's own. */
import { statSync } from 'node:fs';
import { register } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { FileSystemType } from '../fs/super.js';
import { CliError, describe, placeOf } from './error.js';
import type { MountSettings } from './mount-options.js';

/** Those that come with latchfs. */
export const FILESYSTEMS = ['latch', 'ramfs'] as const;

/** Whether a name is meant as the path of a module: a module has an extension or stands in a folder. */
function isPath(name: string): boolean {
  return /[/.]/.test(name);
}

/** Whether settings ask for the filesystem that this program is for. */
export function isLatch({ type }: Pick<MountSettings, 'type'>): boolean {
  return type === undefined || type === 'latch';
}

/** Look at a type before anything is loaded. @throws CliError (status 2) naming what there is; (status 1) for a module that is not there */
export function checkType(name: string): void {
  if (!isPath(name)) {
    if (FILESYSTEMS.some((known) => known === name)) return;
    throw new CliError(
      `unknown filesystem '${name}': it must be ${FILESYSTEMS.join(', ')}, or the path of a module, such as ./${name}.js`,
      2,
    );
  }
  if (statSync(name, { throwIfNoEntry: false })?.isFile() !== true)
    throw new CliError(`the module ${name} of a filesystem is not there, or no file`);
}

function isFileSystemType(value: unknown): value is FileSystemType {
  if (typeof value !== 'object' || value === null) return false;
  return (
    'name' in value && typeof value.name === 'string' && 'fill_super' in value && typeof value.fill_super === 'function'
  );
}

/**
 * Load a filesystem that is not latch. What its module imports as 'latchfs/fs/…' is this very program, wherever the module lies.
 * @throws CliError where there is none in it, or it cannot be loaded
 */
export async function loadFilesystem(name: string): Promise<FileSystemType> {
  if (name === 'ramfs') return (await import('../ramfs/ramfs.js')).ramfs_fs_type;
  register('./own-modules.js', import.meta.url, { data: new URL('../', import.meta.url).href });
  let loaded: unknown;
  try {
    loaded = await import(pathToFileURL(resolve(name)).href);
  } catch (error) {
    throw new CliError(`the module ${name} cannot be loaded: ${describe(error)}${placeOf(error)}`);
  }
  const type = typeof loaded === 'object' && loaded !== null && 'default' in loaded ? loaded.default : undefined;
  if (!isFileSystemType(type))
    throw new CliError(`the module ${name} exports no filesystem: its default export must have a name and fill_super`);
  return type;
}
