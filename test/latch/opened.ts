/** One file of a fresh filesystem, opened past the page cache and through it. */

import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { O_CREAT, O_DIRECT, O_RDWR } from '../../src/uapi/fcntl.js';
import { newWorld, opsCalled, type World, type WorldOptions } from '../fs/world.js';

export interface Opened {
  readonly world: World;
  readonly process: Process;
  readonly sys: Syscalls;
  /** One file, twice: past the cache and through it. */
  readonly direct: number;
  readonly cached: number;
}

export async function opened(options: WorldOptions = {}): Promise<Opened> {
  const world = await newWorld(options);
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const cached = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  return { world, process, sys, cached, direct: await sys.open('/f', O_RDWR | O_DIRECT) };
}

/** The end of it: what is in use still, and the rules that were broken. [0] is right. */
export async function ended({ world, process }: Opened): Promise<readonly unknown[]> {
  await process.exit();
  return [await world.end(), ...world.violations.map(({ message }) => message)];
}

/** The operations that are called, but for those of times. */
export const calledBy = async (world: World, body: () => unknown): Promise<string[]> =>
  (await opsCalled(world, body)).filter((op) => op !== 'update_time' && op !== 'dirty_inode');

/** Pages of a file in memory. */
export const pages = ({ world }: Opened, ino: number): number => world.sb.inodeHash.get(ino)?.i_mapping.nrpages ?? -1;
