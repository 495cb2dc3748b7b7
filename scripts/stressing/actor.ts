/** Somebody who makes random system calls: where it is in its numbers, and what it has open. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { SuperBlock } from '../../src/fs/super-block.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';

/** A mapping of an actor's. */
export interface Mapped {
  readonly addr: number;
  readonly length: number;
}

/** Numbers below n, from a seed. */
export function numbers(seed: number): (n: number) => number {
  const generator = xoroshiro128plus(seed);
  return (n) => uniformInt(generator, 0, n - 1);
}

/** Names are few, so that actors meet. */
const DIRECTORIES = 3;
const DEEPER = 3;
const FILES = 6;

/** A name that something may have, two or three deep. */
export function somePath(choose: (n: number) => number): string {
  const top = `/d${choose(DIRECTORIES)}`;
  switch (choose(8)) {
    case 0:
      return top;
    case 1:
      return `${top}/e${choose(DEEPER)}`;
    case 2:
    case 3:
      return `${top}/e${choose(DEEPER)}/f${choose(FILES)}`;
    default:
      return `${top}/f${choose(FILES)}`;
  }
}

/** One process that lives in this process. */
export class Actor {
  readonly process: Process;
  readonly sys: Syscalls;
  readonly sb: SuperBlock;
  readonly choose: (n: number) => number;
  readonly fds: number[] = [];
  readonly maps: Mapped[] = [];

  constructor(sb: SuperBlock, choose: (n: number) => number, from?: Process) {
    this.sb = sb;
    this.process = from ?? new Process(sb, { comm: 'stress' });
    this.sys = syscalls(this.process);
    this.choose = choose;
  }

  path(): string {
    return somePath(this.choose);
  }

  /** An open descriptor; -1 where there is none, which every call refuses. */
  fd(): number {
    return this.fds[this.choose(Math.max(1, this.fds.length))] ?? -1;
  }

  /** Remember a descriptor. Of too many the oldest is closed. */
  async opened(fd: number): Promise<void> {
    this.fds.push(fd);
    if (this.fds.length <= 6) return;
    const oldest = this.fds.shift();
    if (oldest !== undefined) await this.sys.close(oldest);
  }

  bytes(most: number): Buffer {
    return Buffer.alloc(1 + this.choose(most), this.choose(256));
  }

  /** A place in a file: often near a page's edge. */
  place(): number {
    return this.choose(2) === 0 ? this.choose(200_000) : this.choose(50) * 4096 + this.choose(3) - 1;
  }
}
