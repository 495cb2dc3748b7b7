/**
 * Extended attributes: one block of them an inode, as in ext4 without ea_inode.
 *
 *     0  4  magic "LXAT"                 then entries: u8 length of the name, u8 0, u16 length of the value, name, value
 *     4  4  entries
 */
import { brelse, sb_bread } from '../block/buffer-cache.js';
import { BLOCK_SIZE } from '../block/buffer-head.js';
import type { Dentry } from '../fs/dentry.js';
import { mark_inode_dirty } from '../fs/icache.js';
import { I_DIRTY_SYNC, type Inode } from '../fs/inode.js';
import type { xattr_handler } from '../fs/operations.js';
import { inode_set_ctime_current } from '../fs/time.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { infoOf, with_handle } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import type { Handle } from './journal/types.js';

const MAGIC = 0x5441584c;
const HEAD = 8;
const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;

async function readAll(task: Task, inode: LatchInode): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  if (inode.xattrBlock === 0) return found;
  const bh = await sb_bread(task, infoOf(inode.i_sb).bdev, inode.xattrBlock);
  const { b_data: data } = bh;
  try {
    if (data.readUInt32LE(0) !== MAGIC) throw errno('EIO', `xattr block ${inode.xattrBlock} is damaged`);
    let at = HEAD;
    for (let n = data.readUInt32LE(4); n > 0; n--) {
      const nameLength = data.readUInt8(at);
      const valueLength = data.readUInt16LE(at + 2);
      const value = at + 4 + nameLength;
      if (value + valueLength > BLOCK_SIZE) throw errno('EIO', `xattr block ${inode.xattrBlock} is damaged`);
      found.set(data.toString('latin1', at + 4, value), Buffer.from(data.subarray(value, value + valueLength)));
      at = value + valueLength;
    }
    return found;
  } finally {
    brelse(bh);
  }
}

/** @throws ENOSPC where they do not fit in a block */
async function writeAll(task: Task, handle: Handle, inode: LatchInode, attributes: Map<string, Buffer>): Promise<void> {
  const info = infoOf(inode.i_sb);
  if (attributes.size === 0) {
    await freeXattrs(task, handle, inode);
    return;
  }
  const pieces: Buffer[] = [];
  for (const [name, value] of attributes) {
    const head = Buffer.alloc(4);
    head[0] = name.length;
    head.writeUInt16LE(value.length, 2);
    pieces.push(head, Buffer.from(name, 'latin1'), value);
  }
  const body = Buffer.concat(pieces);
  if (HEAD + body.length > BLOCK_SIZE) throw errno('ENOSPC', 'extended attributes take more than a block');
  if (inode.xattrBlock === 0) {
    inode.xattrBlock = (await info.alloc.allocate(task, handle, 1)).start;
    inode.i_blocks += 8;
  }
  const bh = await sb_bread(task, info.bdev, inode.xattrBlock);
  await handle.get_write_access(task, bh);
  bh.b_data.fill(0);
  bh.b_data.writeUInt32LE(MAGIC, 0);
  bh.b_data.writeUInt32LE(attributes.size, 4);
  body.copy(bh.b_data, HEAD);
  handle.dirty_metadata(task, bh);
  brelse(bh);
}

/** Give the block of the attributes back. */
export async function freeXattrs(task: Task, handle: Handle, inode: LatchInode): Promise<void> {
  if (inode.xattrBlock === 0) return;
  const info = infoOf(inode.i_sb);
  handle.forget(task, await sb_bread(task, info.bdev, inode.xattrBlock));
  await info.alloc.free(task, handle, inode.xattrBlock, 1);
  inode.xattrBlock = 0;
  inode.i_blocks -= 8;
}

export async function latch_listxattr(task: Task, dentry: Dentry): Promise<string[]> {
  const { d_inode: inode } = dentry;
  return inode === undefined ? [] : [...(await readAll(task, latchInode(inode))).keys()];
}

function handler(prefix: string, list?: xattr_handler['list']): xattr_handler {
  return {
    prefix,
    ...(list === undefined ? {} : { list }),
    get: async (task, _dentry, inode, name) => {
      const value = (await readAll(task, latchInode(inode))).get(prefix + name);
      if (value === undefined) throw errno('ENODATA');
      return value;
    },
    set: (task, _dentry, inode, name, value, flags) => set(task, inode, prefix + name, value, flags),
  };
}

async function set(task: Task, given: Inode, name: string, value: Buffer | undefined, flags: number): Promise<void> {
  const inode = latchInode(given);
  const all = await readAll(task, inode);
  if ((flags & XATTR_CREATE) !== 0 && all.has(name)) throw errno('EEXIST');
  if (((flags & XATTR_REPLACE) !== 0 || value === undefined) && !all.has(name)) throw errno('ENODATA');
  if (value === undefined) all.delete(name);
  else all.set(name, value);
  await with_handle(task, infoOf(inode.i_sb), (handle) => writeAll(task, handle, inode, all));
  inode_set_ctime_current(inode);
  await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
}

export const latch_xattr_handlers: readonly xattr_handler[] = [
  handler('user.'),
  handler('trusted.', (task) => task.cred.capable('CAP_SYS_ADMIN')),
  handler('security.'),
];
