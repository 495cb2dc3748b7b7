/** Address space operations for files that live in the page cache alone (fs/libfs.c: simple_*). */
import { address_space_operations as rows } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace, MmFile } from './address-space.js';
import { filemap_grab_folio } from './filemap.js';
import { type Folio, folio_put, folio_zero_range, PAGE_SIZE, pageOf } from './folio.js';
import { folio_mark_dirty, folio_mark_uptodate, folio_unlock, noop_dirty_folio } from './folio-state.js';
import type { address_space_operations, WriteBegun } from './operations.js';

/**
 * The block of the device under a block of a file, for FIBMAP and the swapper (bmap). @returns 0 for a hole
 * @throws EINVAL where the filesystem does not tell
 */
export function bmap(task: Task, mapping: AddressSpace, block: number): Awaitable<number> {
  const operation = mapping.a_ops.bmap;
  if (operation === undefined) throw errno('EINVAL', 'the filesystem has no bmap');
  return call(task, rows.bmap, {}, () => operation(task, mapping, block));
}

/** read_folio: what was never written is zeros (simple_read_folio). */
export function simple_read_folio(task: Task, _file: MmFile | undefined, folio: Folio): void {
  folio_zero_range(folio, 0, PAGE_SIZE);
  folio_mark_uptodate(folio);
  folio_unlock(task, folio);
}

/** write_begin: the folio, with zeros around what will be written (simple_write_begin). At once where it is cached and free. @throws ENOMEM */
export function simple_write_begin(
  task: Task,
  _file: MmFile | undefined,
  mapping: AddressSpace,
  pos: number,
  len: number,
): Awaitable<WriteBegun> {
  return andThen(filemap_grab_folio(task, mapping, pageOf(pos)), ({ folio }) => {
    if (!folio.uptodate && len !== PAGE_SIZE) {
      const from = pos & (PAGE_SIZE - 1);
      folio_zero_range(folio, 0, from);
      folio_zero_range(folio, from + len, PAGE_SIZE - from - len);
    }
    return { folio, fsdata: undefined };
  });
}

/** write_end: uptodate, dirty, and the file as long as what was written (simple_write_end). @returns `copied` */
export function simple_write_end(
  task: Task,
  _file: MmFile | undefined,
  mapping: AddressSpace,
  pos: number,
  len: number,
  copied: number,
  begun: WriteBegun,
): number {
  const { folio } = begun;
  if (!folio.uptodate) {
    if (copied < len) folio_zero_range(folio, (pos & (PAGE_SIZE - 1)) + copied, len - copied);
    folio_mark_uptodate(folio);
  }
  if (pos + copied > mapping.host.i_size) mapping.host.i_size = pos + copied;
  folio_mark_dirty(task, folio);
  folio_unlock(task, folio);
  folio_put(folio);
  return copied;
}

/** The operations of a filesystem without a device: pages are dirty for ever, so that reclaim leaves them (ram_aops). */
export const ram_aops: address_space_operations = {
  read_folio: simple_read_folio,
  write_begin: simple_write_begin,
  write_end: simple_write_end,
  dirty_folio: noop_dirty_folio,
};
