/** Directories of an overlay: all layers together (fs/overlayfs/readdir.c). */

import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { DT_CHR, DT_DIR } from '../../uapi/dirent.js';
import { O_NOATIME } from '../../uapi/fcntl.js';
import { dput } from '../dcache.js';
import type { Dentry } from '../dentry.js';
import { FMODE_PATH } from '../file.js';
import { fput } from '../file-table.js';
import { lookup_one } from '../namei/lookup.js';
import { vfs_open } from '../open.js';
import type { file_operations } from '../operations.js';
import { iterate_dir } from '../readdir.js';
import { generic_file_llseek } from '../seek.js';
import { asCreator, ovl } from './entry.js';
import { isWhiteout } from './namei.js';

interface Listed {
  readonly name: string;
  readonly ino: number;
  readonly type: number;
}

/** What a directory had when it was opened, all layers together. */
class Listing {
  readonly entries: readonly Listed[];

  constructor(entries: readonly Listed[]) {
    this.entries = entries;
  }
}

/** The entries of all layers, each name once, without what whiteouts hide (ovl_dir_read_merged). By the rights of who has mounted the overlay. */
async function readMerged(task: Task, layers: readonly Dentry[]): Promise<Listing> {
  const seen = new Map<string, Listed | undefined>();
  for (const layer of layers) {
    for (const entry of await readLayer(task, layer)) {
      if (entry.name === '.' || entry.name === '..' || seen.has(entry.name)) continue;
      const hidden = entry.type === DT_CHR && (await hides(task, layer, entry.name));
      seen.set(entry.name, hidden ? undefined : entry);
    }
  }
  return new Listing([...seen.values()].filter((entry) => entry !== undefined));
}

async function readLayer(task: Task, layer: Dentry): Promise<Listed[]> {
  const entries: Listed[] = [];
  const file = await vfs_open(task, layer, O_NOATIME);
  try {
    await iterate_dir(task, file, { pos: 0, actor: (name, ino, type) => entries.push({ name, ino, type }) > 0 });
  } finally {
    await fput(task, file);
  }
  return entries;
}

async function hides(task: Task, layer: Dentry, name: string): Promise<boolean> {
  const dentry = await lookup_one(task, layer, name);
  const whiteout = isWhiteout(dentry);
  await dput(task, dentry);
  return whiteout;
}

export const ovl_dir_operations: file_operations = {
  // All at once and here, where nothing is locked yet.
  open: async (task, inode, file) => {
    if ((file.f_mode & FMODE_PATH) !== 0) return;
    file.private_data = await asCreator(task, inode.i_sb, () => readMerged(task, ovl(inode).layers));
  },
  llseek: (_task, file, offset, whence) => generic_file_llseek(file, offset, whence),
  // Nothing of the layers is written to.
  fsync: () => undefined,
  iterate_shared: (_task, { f_inode: dir, f_dentry: { d_parent }, private_data: listing }, ctx) => {
    if (!(listing instanceof Listing)) throw errno('EBADF');
    const dots: readonly Listed[] = [
      { name: '.', ino: ovl(dir).st_ino, type: DT_DIR },
      { name: '..', ino: ovl(d_parent.d_inode ?? dir).st_ino, type: DT_DIR },
    ];
    for (;;) {
      const entry = dots[ctx.pos] ?? listing.entries[ctx.pos - dots.length];
      if (entry === undefined || !ctx.actor(entry.name, entry.ino, entry.type, ctx.pos + 1)) return;
      ctx.pos++;
    }
  },
};
