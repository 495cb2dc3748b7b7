/** The lists that reclaim scans: newest at the head, victims at the tail. The links are in the folios. */
import type { Folio } from './folio.js';

export class LruList {
  #head: Folio | undefined;
  #tail: Folio | undefined;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The folio that was used longest ago. */
  get tail(): Folio | undefined {
    return this.#tail;
  }

  /** All of them now, the victims first. */
  all(): Folio[] {
    const found: Folio[] = [];
    for (let folio = this.#tail; folio !== undefined; folio = folio.lru_prev) found.push(folio);
    return found;
  }

  /** Put a folio that is on no list at the head. */
  addHead(folio: Folio): void {
    folio.lru = this;
    folio.lru_prev = undefined;
    folio.lru_next = this.#head;
    if (this.#head === undefined) this.#tail = folio;
    else this.#head.lru_prev = folio;
    this.#head = folio;
    this.#count++;
  }

  /** Put a folio that is on no list at the tail: it goes next (folio_rotate_reclaimable). */
  addTail(folio: Folio): void {
    folio.lru = this;
    folio.lru_next = undefined;
    folio.lru_prev = this.#tail;
    if (this.#tail === undefined) this.#head = folio;
    else this.#tail.lru_next = folio;
    this.#tail = folio;
    this.#count++;
  }

  remove(folio: Folio): void {
    const { lru_prev, lru_next } = folio;
    if (lru_prev === undefined) this.#head = lru_next;
    else lru_prev.lru_next = lru_next;
    if (lru_next === undefined) this.#tail = lru_prev;
    else lru_next.lru_prev = lru_prev;
    folio.lru = undefined;
    folio.lru_prev = undefined;
    folio.lru_next = undefined;
    this.#count--;
  }
}

/** Take a folio off the list it is on, if any, and put it at the head of `list`. */
export function lru_move_head(folio: Folio, list: LruList): void {
  folio.lru?.remove(folio);
  list.addHead(folio);
}

/** A second use within one scan makes a folio active; the first only says that it was used (mark_page_accessed). */
export function folio_mark_accessed(folio: Folio): void {
  if (!folio.referenced) {
    folio.referenced = true;
  } else if (!folio.active && folio.lru !== undefined) {
    folio_activate(folio);
    folio.referenced = false;
  }
}

/** Move a folio to the head of the active list (folio_activate). */
export function folio_activate(folio: Folio): void {
  folio.active = true;
  if (folio.lru !== undefined) lru_move_head(folio, folio.memory.active);
}
