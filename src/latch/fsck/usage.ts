/** Which blocks something uses, as fsck finds them. Pure data. */
import { clearBit, firstClear, isSet, setBit } from '../bitmap.js';

export class Usage {
  readonly #blocks: number;
  readonly #used: Uint8Array;
  /** Blocks that say themselves whose they are, or lie where only they can be: others that claim them are wrong. */
  readonly #metadata: Uint8Array;
  /** Blocks that were claimed more than once. */
  readonly #shared: Uint8Array;
  readonly #released: number[] = [];
  sharedCount = 0;

  /** @param blocks how many the device has */
  constructor(blocks: number) {
    this.#blocks = blocks;
    const bytes = Math.ceil(blocks / 8);
    this.#used = new Uint8Array(bytes);
    this.#metadata = new Uint8Array(bytes);
    this.#shared = new Uint8Array(bytes);
  }

  isUsed(block: number): boolean {
    return isSet(this.#used, block);
  }

  isMetadata(block: number): boolean {
    return isSet(this.#metadata, block);
  }

  isShared(block: number): boolean {
    return isSet(this.#shared, block);
  }

  /** @returns false where the block is metadata of something else */
  claimMetadata(block: number): boolean {
    if (isSet(this.#metadata, block)) return false;
    if (isSet(this.#used, block)) this.#share(block);
    setBit(this.#used, block);
    setBit(this.#metadata, block);
    return true;
  }

  /** A block of a file's data. @returns false where something has it already */
  claimData(block: number): boolean {
    if (!isSet(this.#used, block)) {
      setBit(this.#used, block);
      return true;
    }
    this.#share(block);
    return false;
  }

  #share(block: number): void {
    if (isSet(this.#shared, block)) return;
    setBit(this.#shared, block);
    this.sharedCount++;
  }

  /** A block of metadata is not wanted any more. */
  release(block: number): void {
    clearBit(this.#used, block);
    clearBit(this.#metadata, block);
    this.#released.push(block);
  }

  /** The blocks that were released since this was asked last. */
  takeReleased(): readonly number[] {
    return this.#released.splice(0);
  }

  /** A bitmap of the blocks from `base`, a multiple of 8, that are in use. @param size how many; @param into zeroes */
  copy(base: number, size: number, into: Uint8Array): void {
    const bytes = Math.ceil(size / 8);
    into.set(this.#used.subarray(base / 8, base / 8 + bytes));
  }

  /** The first block from `from` to `end` exclusive of a group that nobody uses. @param base its first block, a multiple of 8 @param busy others that will not do */
  findFree(base: number, busy: Uint8Array | undefined, from: number, end: number): number | undefined {
    const bits = this.#used.subarray(base / 8);
    const found = firstClear(bits, busy, from - base, Math.min(end, this.#blocks) - base);
    return found === undefined ? undefined : base + found;
  }
}
