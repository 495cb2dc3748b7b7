/** Checking the orphan list: each of its inodes is one, and it ends. */
import type { FsckContext } from './context.js';

export function checkOrphans(context: FsckContext): void {
  let from = 'superblock';
  for (let ino = context.super.orphan; ino !== 0; ) {
    const seen = context.inodes.get(ino);
    if (seen === undefined) {
      context.problem(from, `the orphan list goes on with inode ${ino}, which is free`);
      return;
    }
    if (seen.orphan) {
      context.problem(from, `the orphan list goes on with inode ${ino}, where it has been`);
      return;
    }
    seen.orphan = true;
    from = `inode ${ino}`;
    ino = seen.disk.nextOrphan;
  }
  for (const { ino, orphan, disk } of context.inodes.values()) {
    if (!orphan && disk.nextOrphan !== 0) context.problem(`inode ${ino}`, 'has a next orphan, and is not on the list');
  }
}
