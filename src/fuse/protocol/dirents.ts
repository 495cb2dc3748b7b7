// Packs directory entries into a reply: struct fuse_dirent for READDIR, struct fuse_direntplus for READDIRPLUS.

import { OUT_HEADER } from './message.js';
import type { Out } from './out.js';
import { ENTRY_OUT_SIZE, type Entry, entryAt } from './write.js';

const DIRENT_SIZE = 24;

export class DirentPacker {
  readonly #out: Out;
  #at = OUT_HEADER;
  #end = OUT_HEADER;

  constructor(out: Out) {
    this.#out = out;
  }

  /** Starts a listing of at most `size` bytes (what the request asks for, less when the reply buffer is smaller). */
  begin(size: number): void {
    this.#at = OUT_HEADER;
    this.#end = OUT_HEADER + Math.min(size, this.#out.room);
  }

  /** Bytes packed so far: what reply() takes. */
  get size(): number {
    return this.#at - OUT_HEADER;
  }

  /** Whether an entry with a name of `namelen` bytes would still fit. */
  fits(namelen: number, plus: boolean): boolean {
    return this.#at + (plus ? ENTRY_OUT_SIZE : 0) + align(DIRENT_SIZE + namelen) <= this.#end;
  }

  /**
   * Adds a READDIR entry.
   * @param off where the next READDIR continues after this entry (never 0)
   * @param type DirentType
   * @returns false, and adds nothing, when it does not fit
   */
  add(ino: number, off: number, type: number, name: string): boolean {
    if (!this.fits(name.length, false)) return false;
    this.#dirent(this.#at, ino, off, type, name);
    return true;
  }

  /**
   * Adds a READDIRPLUS entry; with `entry` null only its dirent part is known, and the kernel looks no inode up ("." and ".." must be
   * so: the kernel ignores their entry, and takes no reference).
   */
  addPlus(entry: Entry | null, ino: number, off: number, type: number, name: string, flags = 0): boolean {
    if (!this.fits(name.length, true)) return false;
    const at = this.#at;
    if (entry === null) this.#out.zero(at, ENTRY_OUT_SIZE);
    else entryAt(this.#out, at, entry, flags);
    this.#dirent(at + ENTRY_OUT_SIZE, ino, off, type, name);
    return true;
  }

  #dirent(at: number, ino: number, off: number, type: number, name: string): void {
    const out = this.#out;
    const total = align(DIRENT_SIZE + name.length);
    out.zero(at + total - 8, 8); // the padding; what else lies there is written over it
    out.put64(at, ino);
    out.put64(at + 8, off);
    out.put32(at + 16, name.length);
    out.put32(at + 20, type);
    out.string(at + DIRENT_SIZE, name);
    this.#at = at + total;
  }
}

function align(size: number): number {
  return (size + 7) & ~7;
}
