/**
 * What of folios, and of the trees that they are in, only mm/ changes, where it has checked the locks. To everybody else it is read-only; a test sees that
 * nobody else imports this.
 */
import type { WaitBit } from '../locking/bitlock.js';
import type { AddressSpace } from './address-space.js';
import type { Folio } from './folio.js';
import type { XArray } from './xarray.js';

/** The fields of a folio that others only read. */
export interface FolioFields {
  dirty: boolean;
  uptodate: boolean;
  mapping: AddressSpace | undefined;
}

/** The fields of a folio, to be changed. */
export function fields_of(folio: Folio): FolioFields {
  return folio;
}

/** PG_writeback of a folio, to be set and cleared. */
export function writeback_of(folio: Folio): WaitBit {
  return folio.writeback as WaitBit;
}

/** The pages of a file and their marks, to be changed. */
export function tree_of(mapping: AddressSpace): XArray<Folio> {
  return mapping.i_pages as XArray<Folio>;
}
