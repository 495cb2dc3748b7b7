/** Blocks that are promised to data that have none yet, and what is kept back for the metadata that will map them (ext4's s_dirtyclusters_counter). */
import type { Superblock } from './format/superblock.js';

/** Blocks kept for metadata when data are promised room. */
const MARGIN = 16;

/** Blocks that mapping so many promised ones may take. */
function metadataOf(promised: number): number {
  return MARGIN + (promised >> 8);
}

export class Promises {
  readonly #super: Superblock;
  /** Promised to pages that have no block yet. */
  #reserved = 0;
  /** What the trees of their files may take for these. */
  #nodes = 0;

  constructor(superblock: Superblock) {
    this.#super = superblock;
  }

  /** Blocks that are neither in use nor promised. */
  get available(): number {
    return Math.max(0, this.#super.freeBlocks - this.#reserved);
  }

  /** Blocks kept for trees that will map promised data: some of them will not be needed. */
  get expected(): number {
    return this.#nodes;
  }

  /** Blocks that may not be used for anything but promised data and what maps them. */
  get kept(): number {
    return this.#reserved === 0 ? 0 : this.#keptFor(this.#reserved, this.#nodes);
  }

  #keptFor(reserved: number, nodes: number): number {
    return reserved + nodes + metadataOf(reserved);
  }

  /**
   * Promise blocks to data that get none yet; some are kept back for the metadata that they will need.
   * @param nodes blocks more that the trees of their files may take, as far as that is known
   * @returns false where there are not that many
   */
  reserve(count: number, nodes = 0): boolean {
    const [reserved, all] = [this.#reserved + count, this.#nodes + nodes];
    if (this.#super.freeBlocks < this.#keptFor(reserved, all)) return false;
    this.#reserved = reserved;
    this.#nodes = all;
    return true;
  }

  /** Promise as many blocks of so many as there are, or about half of them. @returns how many */
  reserveSome(count: number): number {
    let some = count;
    while (some > 0 && !this.reserve(some)) some = Math.floor(some / 2);
    return some;
  }

  /** The promise is kept, or not wanted any more. */
  unreserve(count: number, nodes = 0): void {
    this.#reserved -= count;
    this.#nodes -= nodes;
  }
}
