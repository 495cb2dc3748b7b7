/** The disks of a machine by device number (block/genhd.c). A mount brings its device along; a disk that nodes can name is added here. */
import type { BlockDevice } from '../block/block-device.js';
import type { Machine } from './super-block.js';

/** Numbers of disks whose driver has none of its own. */
const BLOCK_EXT_MAJOR = 259;

interface Disks {
  readonly byNumber: Map<number, BlockDevice>;
  nextMinor: number;
}

const machines = new WeakMap<Machine, Disks>();

/** A device number as st_rdev has it (new_encode_dev). */
function new_encode_dev(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** Let a disk be found by its number (add_disk). @returns the number, for mknod(2) */
export function add_disk(machine: Machine, disk: BlockDevice): number {
  let disks = machines.get(machine);
  if (disks === undefined) {
    disks = { byNumber: new Map(), nextMinor: 0 };
    machines.set(machine, disks);
  }
  const number = new_encode_dev(BLOCK_EXT_MAJOR, disks.nextMinor++);
  disks.byNumber.set(number, disk);
  return number;
}

/** The disk has been pulled out: nobody can open it any more; who has it open goes on with it (del_gendisk). */
export function del_gendisk(machine: Machine, number: number): void {
  machines.get(machine)?.byNumber.delete(number);
}

/** The disk of a number (blkdev_get_no_open). */
export function disk_of(machine: Machine, number: number): BlockDevice | undefined {
  return machines.get(machine)?.byNumber.get(number);
}
