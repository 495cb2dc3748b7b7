/** Extended attributes: the handlers that the VFS calls, on the store of each inode. */

import type { Dentry } from '../fs/dentry.js';
import type { Inode } from '../fs/inode.js';
import type { xattr_handler } from '../fs/operations.js';
import { IS_SYNC } from '../fs/sync-flags.js';
import { inode_set_ctime_current } from '../fs/time.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { XATTR_CREATE, XATTR_REPLACE } from '../uapi/xattr.js';
import { BODY_BYTES } from './btree/tree.js';
import { giveBlocks, initQuota, takeBlocks } from './charge.js';
import { INODES_PER_BLOCK } from './format/layout.js';
import { checksumSeed } from './format/tree.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { type LatchInode, latchInode } from './inode.js';
import { writeInode } from './inode-disk.js';
import type { Handle } from './journal/types.js';
import { VALUE_BLOCKS, VALUE_MAX } from './xattr-record.js';
import { type XattrSpace, XattrStore } from './xattr-store.js';

function spaceOf(inode: LatchInode): XattrSpace {
  const { bdev, checked, keyOf, super: disk } = infoOf(inode.i_sb);
  return {
    bdev,
    ino: inode.i_ino,
    seed: checksumSeed(disk.uuid, inode.i_ino, inode.i_generation),
    unchecked: !checked,
    bodyBytes: BODY_BYTES,
    keyOf,
    allocate: (task, handle, want, goal) =>
      takeBlocks(task, handle, inode, want, goal ?? Math.floor(inode.i_ino / INODES_PER_BLOCK)),
    free: (task, handle, run) => giveBlocks(task, handle, inode, run),
  };
}

/** With xattr_sem, of an inode that has attributes. @throws EIO */
async function withStore<T>(task: Task, inode: LatchInode, body: (store: XattrStore) => Promise<T>): Promise<T> {
  const store = await XattrStore.open(task, spaceOf(inode), inode.xattrBlock);
  try {
    return await body(store);
  } finally {
    store.close();
  }
}

/** Takes xattr_sem shared. @returns undefined where there is none @throws EIO */
function get(task: Task, inode: LatchInode, name: string): Awaitable<Buffer | undefined> {
  // At once for a file that has none: the kernel asks for security.capability at the first write to each file.
  if (inode.xattrBlock === 0) return undefined;
  return getStored(task, inode, name);
}

async function getStored(task: Task, inode: LatchInode, name: string): Promise<Buffer | undefined> {
  using _sem = await inode.xattr_sem.read(task);
  if (inode.xattrBlock === 0) return undefined;
  return await withStore(task, inode, async (store) => {
    const record = await store.find(task, name);
    return record === undefined ? undefined : store.read(task, record);
  });
}

/** Takes xattr_sem shared. @throws EIO */
export async function latch_listxattr(task: Task, dentry: Dentry): Promise<string[]> {
  const { d_inode } = dentry;
  if (d_inode === undefined) return [];
  const inode = latchInode(d_inode);
  if (inode.xattrBlock === 0) return [];
  using _sem = await inode.xattr_sem.read(task);
  return inode.xattrBlock === 0 ? [] : await withStore(task, inode, (store) => store.names(task));
}

/** Takes xattr_sem exclusively. @throws EEXIST ENODATA ENOSPC EDQUOT E2BIG EIO */
async function set(
  task: Task,
  inode: LatchInode,
  name: string,
  value: Buffer | undefined,
  flags: number,
): Promise<void> {
  if (value !== undefined && value.length > VALUE_MAX) throw errno('E2BIG');
  const credits = CREDITS + (value === undefined ? 0 : 2 * VALUE_BLOCKS);
  const info = infoOf(inode.i_sb);
  await initQuota(task, inode);
  await with_handle(
    task,
    info,
    async (handle) => {
      if (IS_SYNC(inode)) handle.sync = true;
      try {
        using _sem = await inode.xattr_sem.write(task);
        guard_write(task, GUARDED.xattrs, inode.i_rwsem);
        await change(task, handle, inode, name, value, flags);
        inode_set_ctime_current(inode);
      } finally {
        await writeInode(task, handle, info, inode);
      }
    },
    credits,
  );
}

async function change(
  task: Task,
  handle: Handle,
  inode: LatchInode,
  name: string,
  value: Buffer | undefined,
  flags: number,
): Promise<void> {
  const missing = value === undefined || (flags & XATTR_REPLACE) !== 0;
  if (inode.xattrBlock === 0 && missing) throw errno('ENODATA');
  const space = spaceOf(inode);
  const store =
    inode.xattrBlock === 0
      ? await XattrStore.create(task, handle, space)
      : await XattrStore.open(task, space, inode.xattrBlock);
  try {
    const old = await store.find(task, name);
    if ((flags & XATTR_CREATE) !== 0 && old !== undefined) throw errno('EEXIST');
    if (missing && old === undefined) throw errno('ENODATA');
    if (value !== undefined) await store.set(task, handle, name, value, old);
    else if (old !== undefined) await store.remove(task, handle, old);
  } finally {
    await settle(task, handle, inode, store);
  }
}

/** Close a store that may have changed: the inode names its block, unless it is empty and goes. */
async function settle(task: Task, handle: Handle, inode: LatchInode, store: XattrStore): Promise<void> {
  let empty = false;
  try {
    empty = await store.tree.isEmpty(task);
  } finally {
    inode.xattrBlock = empty ? 0 : store.block;
    if (!empty) store.close();
  }
  if (empty) await store.destroy(task, handle);
}

/** Give all attributes of an inode that goes back, in as many transactions as it takes. @throws EIO */
export async function freeXattrs(task: Task, handle: Handle, inode: LatchInode): Promise<void> {
  if (inode.xattrBlock === 0) return;
  const info = infoOf(inode.i_sb);
  const store = await XattrStore.open(task, spaceOf(inode), inode.xattrBlock);
  try {
    while (!(await store.removeAll(task, handle))) {
      await writeInode(task, handle, info, inode);
      await handle.restart(task, Math.min(CREDITS + 2 * VALUE_BLOCKS, info.journal.maxCredits));
    }
  } catch (error) {
    store.close();
    throw error;
  }
  inode.xattrBlock = 0;
  await store.destroy(task, handle);
}

function handler(prefix: string, list?: xattr_handler['list']): xattr_handler {
  return {
    prefix,
    ...(list === undefined ? {} : { list }),
    get: (task, _dentry, inode: Inode, name) => {
      infoOf(inode.i_sb).assert_running();
      return get(task, latchInode(inode), prefix + name);
    },
    set: (task, _dentry, inode: Inode, name, value, flags) => set(task, latchInode(inode), prefix + name, value, flags),
  };
}

/** One attribute by its full name, or undefined. Takes xattr_sem shared. @throws EIO */
export async function getAttribute(task: Task, inode: LatchInode, name: string): Promise<Buffer | undefined> {
  try {
    return await get(task, inode, name);
  } catch (error) {
    if (isErrno(error, 'ENODATA')) return undefined;
    throw error;
  }
}

/**
 * Set an attribute by its full name, or with `value` undefined remove it if it is there, as a part of a transaction. Takes xattr_sem exclusively.
 * @throws ENOSPC EIO
 */
export async function putAttribute(
  task: Task,
  handle: Handle,
  inode: LatchInode,
  name: string,
  value: Buffer | undefined,
): Promise<void> {
  if (inode.xattrBlock === 0 && value === undefined) return;
  using _sem = await inode.xattr_sem.write(task);
  try {
    await change(task, handle, inode, name, value, 0);
  } catch (error) {
    if (value !== undefined || !isErrno(error, 'ENODATA')) throw error;
  }
}

export const latch_xattr_handlers: readonly xattr_handler[] = [
  handler('user.'),
  handler('trusted.', (task) => task.cred.capable('CAP_SYS_ADMIN')),
  handler('security.'),
];
