/** What a scene is, and what scenes have in common. */

import type { SuperBlock } from '../../../fs/super-block.js';
import type { Syscalls } from '../../../fs/syscalls.js';
import { O_CREAT, O_DIRECTORY, O_RDWR } from '../../../uapi/fcntl.js';

export interface Scene {
  readonly name: string;
  /** It gives the filesystem callbacks that latch does not have of itself. */
  readonly lends?: true;
  /** The filesystem counts what users and groups have. */
  readonly quota?: true;
  /** @returns what must be the same whatever happens */
  run(sys: Syscalls, other: Syscalls, sb: SuperBlock): Promise<unknown>;
}

/** The outcome of a call: its errno's name where it fails. */
export async function said<T>(call: Promise<T>): Promise<T | string> {
  try {
    return await call;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

/** A file of so many bytes, which stays open. @returns its descriptor */
export async function create(sys: Syscalls, name: string, bytes = 5000): Promise<number> {
  const fd = await sys.open(name, O_CREAT | O_RDWR, 0o644);
  await sys.write(fd, Buffer.alloc(bytes, 'a'));
  return fd;
}

/** What a directory lists, sorted. */
export async function names(sys: Syscalls, path: string): Promise<string[]> {
  const fd = await sys.open(path, O_DIRECTORY);
  const found = await sys.getdents(fd);
  await sys.lseek(fd, 0, 0);
  await sys.close(fd);
  return found.map(({ name }) => name).sort();
}

/** One number for some bytes. */
export function sum(bytes: Buffer): number {
  return bytes.reduce((total, byte, i) => (total * 31 + byte + i) >>> 0, 0);
}
