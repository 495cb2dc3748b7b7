/** Page tables as far as locking and writeback need them: which page is mapped where, whether it may be written, whether it was. */
import type { Folio } from './folio.js';
import type { SwapEntry } from './swap-info.js';

/** Pages under an entry of the second level: 2 MiB. */
export const PMD_ORDER = 9;
export const PMD_PAGES = 1 << PMD_ORDER;

/** What the processor finds for one page. */
export interface Pte {
  /** The page; undefined for a bare frame, and where nothing is mapped. */
  folio: Folio | undefined;
  /** The bytes; undefined where nothing is mapped: the page is in swap or broken. */
  bytes: Buffer | undefined;
  write: boolean;
  /** Set by the processor at a store. */
  dirty: boolean;
  /** Where it was put when memory was short. */
  swap: SwapEntry | undefined;
  /** The page was broken: an access is a SIGBUS. */
  poisoned: boolean;
}

/** An entry for 512 pages at once, of bare frames that lie together. */
export interface Pmd {
  readonly bytes: Buffer;
  write: boolean;
  dirty: boolean;
}

/** Changed under the page_table_lock of its mm only. */
export class PageTable {
  readonly #ptes = new Map<number, Pte>();
  readonly #pmds = new Map<number, Pmd>();

  /** Pages mapped, whole huge entries counted by their pages. */
  get mapped(): number {
    return this.#ptes.size + this.#pmds.size * PMD_PAGES;
  }

  pte(vpn: number): Pte | undefined {
    return this.#ptes.get(vpn);
  }

  setPte(vpn: number, pte: Pte): void {
    this.#ptes.set(vpn, pte);
  }

  clearPte(vpn: number): void {
    this.#ptes.delete(vpn);
  }

  /** The huge entry that covers a page. */
  pmd(vpn: number): Pmd | undefined {
    return this.#pmds.get(Math.floor(vpn / PMD_PAGES));
  }

  setPmd(vpn: number, pmd: Pmd): void {
    this.#pmds.set(Math.floor(vpn / PMD_PAGES), pmd);
  }

  clearPmd(vpn: number): void {
    this.#pmds.delete(Math.floor(vpn / PMD_PAGES));
  }

  /** True where anything is mapped in the 2 MiB around a page, so that no huge entry can go there. */
  pmdInUse(vpn: number): boolean {
    const first = Math.floor(vpn / PMD_PAGES) * PMD_PAGES;
    if (this.#pmds.has(first / PMD_PAGES)) return true;
    for (let at = first; at < first + PMD_PAGES; at++) if (this.#ptes.has(at)) return true;
    return false;
  }

  /** The mapped small pages from `start` to before `end`. Visits what is mapped or what is asked for, whichever is less. */
  *ptes(start: number, end: number): Generator<[number, Pte]> {
    if (end - start > this.#ptes.size) {
      for (const [vpn, pte] of [...this.#ptes]) if (vpn >= start && vpn < end) yield [vpn, pte];
      return;
    }
    for (let vpn = start; vpn < end; vpn++) {
      const pte = this.#ptes.get(vpn);
      if (pte !== undefined) yield [vpn, pte];
    }
  }

  /** The huge entries that overlap pages `start` to before `end`, by their first page. */
  *pmds(start: number, end: number): Generator<[number, Pmd]> {
    for (const [index, pmd] of [...this.#pmds]) {
      const first = index * PMD_PAGES;
      if (first < end && first + PMD_PAGES > start) yield [first, pmd];
    }
  }
}
