/** Things that nobody uses now, kept for the next user, in the order of last use (struct list_lru). The links are in the things. */
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';

/** What an entry knows of its list: which one it is. */
export interface Membership {
  readonly count: number;
}

export interface LruEntry<T> {
  lru_prev: T | undefined;
  lru_next: T | undefined;
  /** The list that it is on. */
  lru: Membership | undefined;
}

/** What is to become of an entry (enum lru_status); undefined, or a promise, where it is being freed. */
export type LruStatus = 'removed' | 'rotate' | Awaitable<void>;

export class Lru<T extends LruEntry<T>> {
  #oldest: T | undefined;
  #newest: T | undefined;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The one that was used longest ago. */
  get oldest(): T | undefined {
    return this.#oldest;
  }

  /** Put what is on no list at the young end. */
  add(entry: T): void {
    entry.lru = this;
    entry.lru_prev = this.#newest;
    entry.lru_next = undefined;
    if (this.#newest === undefined) this.#oldest = entry;
    else this.#newest.lru_next = entry;
    this.#newest = entry;
    this.#count++;
  }

  /** Take it off; nothing happens where it is not on this list. */
  remove(entry: T): void {
    if (entry.lru !== this) return;
    const { lru_prev: prev, lru_next: next } = entry;
    if (prev === undefined) this.#oldest = next;
    else prev.lru_next = next;
    if (next === undefined) this.#newest = prev;
    else next.lru_prev = prev;
    entry.lru = undefined;
    entry.lru_prev = undefined;
    entry.lru_next = undefined;
    this.#count--;
  }

  /** It was used again: to the young end. */
  rotate(entry: T): void {
    this.remove(entry);
    this.add(entry);
  }

  /**
   * Look at `nr` entries, oldest first (list_lru_walk).
   * @param visit takes the entry off the list ('removed', 'freed'), or lets it be used again ('rotate')
   * @param task that `visit` is given
   * @returns how many were freed
   */
  walk(nr: number, visit: (entry: T, task: Task) => LruStatus, task: Task): Awaitable<number> {
    return this.#walk(nr, visit, task, 0);
  }

  #walk(nr: number, visit: (entry: T, task: Task) => LruStatus, task: Task, before: number): Awaitable<number> {
    let freed = before;
    for (let left = nr; left > 0; left--) {
      const entry = this.#oldest;
      if (entry === undefined) break;
      const status = visit(entry, task);
      if (status === 'removed') this.remove(entry);
      else if (status === 'rotate') this.rotate(entry);
      else {
        freed++;
        if (status instanceof Promise) return this.#walkAfter(status, left - 1, visit, task, freed);
      }
    }
    return freed;
  }

  #walkAfter(
    freeing: Promise<void>,
    nr: number,
    visit: (entry: T, task: Task) => LruStatus,
    task: Task,
    freed: number,
  ): Promise<number> {
    return freeing.then(() => this.#walk(nr, visit, task, freed));
  }
}
