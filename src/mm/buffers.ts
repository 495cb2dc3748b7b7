/** Buffers of a device's blocks attached to a folio, for filesystems that keep them there (fs/buffer.c). */
import { brelse, get_bh } from '../block/buffer.js';
import type { BufferHead } from '../block/buffer-head.js';
import type { Folio } from './folio.js';

/** What folio.private is while buffers are attached; each has a reference. */
export class FolioBuffers {
  readonly heads: readonly BufferHead[];

  constructor(heads: readonly BufferHead[]) {
    this.heads = heads;
  }
}

/** Keep buffers with a locked folio, taking a reference to each (folio_attach_private of create_empty_buffers). */
export function folio_attach_buffers(folio: Folio, heads: readonly BufferHead[]): void {
  for (const bh of heads) get_bh(bh);
  folio.private = new FolioBuffers(heads);
}

/** Detach the buffers of a locked folio if all of them are clean, unlocked and used by nobody else (try_to_free_buffers). @returns whether there are none any more */
export function try_to_free_buffers(folio: Folio): boolean {
  if (folio.private === undefined) return true;
  if (!(folio.private instanceof FolioBuffers)) return false;
  const { heads } = folio.private;
  if (heads.some((bh) => bh.dirty || bh.lock.locked || bh.b_count > 1)) return false;
  folio.private = undefined;
  for (const bh of heads) brelse(bh);
  return true;
}
