/**
 * A crash at any moment of a busy life: the next mount recovers by itself, fsck finds nothing, and what fsync or sync had promised is there. The device
 * remembers every write and flush, and gives what a crash between any two of them may have left.
 */

import fc from 'fast-check';
import t from 'tap';
import { isErrno } from '../../src/sched/errno.js';
import { ROOT_CRED, type Task } from '../../src/sched/task.js';
import { O_DIRECT, O_RDWR } from '../../src/uapi/fcntl.js';
import { freshImage, numbers, problemsOf, World } from './world.js';

const SIZE = 4 << 20;
const RUNS = Number(process.env['LATCHFS_CRASH_RUNS'] ?? 5);
const CUTS = Number(process.env['LATCHFS_CRASH_CUTS'] ?? 10);

/** What a file holds for good between two moments, counted in events of the device. */
interface Promised {
  readonly path: string;
  /** The name that the file has by now: data is changed in place, also before the rename that came first is on the device. */
  now: string;
  readonly content: Buffer;
  readonly from: number;
  /** From then on its name may be gone. */
  until: number;
  /** From then on it may also be different. */
  whole: number;
}

/** One process that works in a directory of its own, and knows what must be in it. */
class Worker {
  readonly world: World;
  readonly task: Task;
  readonly dir: string;
  readonly choose: (n: number) => number;
  readonly files = new Map<string, Buffer>();
  /** What the bytes of each file are, besides zeroes: that tells whose they are. */
  readonly #kinds = new Map<string, number>();
  readonly promises: Promised[] = [];
  #next = 0;

  /** @param uid whose files it makes; it may do what root may */
  constructor(world: World, dir: string, choose: (n: number) => number, uid: number) {
    this.world = world;
    this.task = world.newTask({ ...ROOT_CRED, uid, gid: uid });
    this.dir = dir;
    this.choose = choose;
  }

  get #now(): number {
    return this.world.driver.events.length;
  }

  /** @param change it will be different, not only lose its name */
  #touch(path: string, change: boolean): void {
    for (const promise of this.promises) {
      if (promise.now !== path) continue;
      promise.until = Math.min(promise.until, this.#now);
      if (change) promise.whole = Math.min(promise.whole, this.#now);
    }
  }

  #any(): string | undefined {
    const names = [...this.files.keys()];
    return names[this.choose(Math.max(1, names.length))];
  }

  #bytes(length: number, path: string): Buffer {
    const kind = this.#kinds.get(path) ?? this.choose(255) + 1;
    this.#kinds.set(path, kind);
    return Buffer.alloc(length, kind);
  }

  async step(): Promise<void> {
    const what = this.choose(100);
    try {
      await this.#step(what);
    } catch (error) {
      if (!isErrno(error, 'ENOSPC')) throw new Error(`${this.dir}: step ${what}: ${String(error)}`, { cause: error });
    }
  }

  async #step(what: number): Promise<void> {
    const { world, task, files } = this;
    const path = this.#any();
    if (path === undefined || (what < 22 && files.size < 40)) {
      const fresh = `${this.dir}/${this.#next++}${'x'.repeat(this.choose(40))}`;
      await world.create(fresh, task);
      files.set(fresh, Buffer.alloc(0));
      return;
    }
    const old = files.get(path) ?? Buffer.alloc(0);
    if (what < 55) return this.#write(path, old);
    if (what < 63) return this.#fsync(path, old);
    this.#touch(path, what >= 79 && what < 90);
    if (what < 71) {
      await world.unlink(path, task);
      files.delete(path);
    } else if (what < 79) await this.#rename(path, old);
    else if (what < 85) {
      const size = this.choose(30000);
      const grown = Buffer.alloc(size);
      old.copy(grown);
      files.delete(path);
      await world.truncate(path, size, task);
      files.set(path, grown);
    } else if (what < 90) await this.#fallocate(path, old);
    else if (what < 93)
      await world.setxattr(path, 'user.a', Buffer.alloc(this.choose(4) === 0 ? 5000 : this.choose(200), 1), task);
    else if (what < 95) {
      const name = `${this.dir}/${this.#next++}`;
      await world.link(path, name, task);
      await world.unlink(name, task);
    } else if (what < 97) {
      const name = `${this.dir}/d${this.#next++}`;
      await world.mkdir(name, task);
      await world.create(`${name}/f`, task);
      await world.symlink(`${name}/l`, 'y'.repeat(this.choose(300) + 1), task);
      if (this.choose(2) === 0) {
        await world.unlink(`${name}/f`, task);
        await world.unlink(`${name}/l`, task);
        await world.rmdir(name, task);
      }
    } else if (what < 98) world.sched.fireTimers();
    else if (what < 99) await world.chown(path, this.choose(3), this.choose(3), task);
    else await world.sync(task);
  }

  async #write(path: string, old: Buffer): Promise<void> {
    const direct = this.choose(2) === 0;
    const grain = direct ? ([1, 512, 4096][this.choose(3)] ?? 1) : 1;
    const round = (bytes: number): number => Math.ceil(bytes / grain) * grain;
    const pos = round(this.choose(4) === 0 ? old.length : this.choose(old.length + 5000));
    const bytes = this.#bytes(round(this.choose(this.choose(5) === 0 ? 40000 : 3000) + 1), path);
    const content = Buffer.alloc(Math.max(old.length, pos + bytes.length));
    old.copy(content);
    bytes.copy(content, pos);
    this.#touch(path, true);
    this.files.delete(path);
    await this.world.write(path, pos, bytes, this.task, O_RDWR | (direct ? O_DIRECT : 0));
    this.files.set(path, content);
  }

  async #fsync(path: string, content: Buffer): Promise<void> {
    await this.world.fsync(path, this.choose(2) === 0, this.task);
    const forever = Number.POSITIVE_INFINITY;
    this.promises.push({ path, now: path, content, from: this.#now, until: forever, whole: forever });
  }

  async #rename(path: string, old: Buffer): Promise<void> {
    const target = this.choose(2) === 0 ? (this.#any() ?? path) : `${this.dir}/${this.#next++}`;
    this.#touch(target, target !== path);
    this.files.delete(path);
    const victim = this.files.get(target);
    this.files.delete(target);
    this.#kinds.set(target, this.#kinds.get(path) ?? this.choose(255) + 1);
    for (const promise of this.promises) if (promise.now === path) promise.now = target;
    await this.world.rename(path, target, 0, this.task);
    if (target !== path || victim !== undefined) this.files.set(target, old);
  }

  async #fallocate(path: string, old: Buffer): Promise<void> {
    const [KEEP, PUNCH, ZERO] = [1, 2, 0x10];
    const mode = [0, KEEP, PUNCH | KEEP, ZERO, 8, 0x20][this.choose(6)] ?? 0;
    const align = mode === 8 || mode === 0x20 ? 4096 : 1;
    const offset = this.choose(Math.ceil(20000 / align)) * align;
    const length = (this.choose(Math.ceil(20000 / align)) + 1) * align;
    if (mode === 8 && offset + length >= old.length) return;
    if (mode === 0x20 && offset >= old.length) return;
    let content = old;
    const end = offset + length;
    if (mode === 8) content = Buffer.concat([old.subarray(0, offset), old.subarray(end)]);
    else if (mode === 0x20)
      content = Buffer.concat([old.subarray(0, offset), Buffer.alloc(length), old.subarray(offset)]);
    else {
      content = Buffer.alloc(mode === 0 || mode === ZERO ? Math.max(old.length, end) : old.length);
      old.copy(content);
      if (mode !== 0 && mode !== KEEP) content.fill(0, Math.min(offset, content.length), Math.min(end, content.length));
    }
    this.files.delete(path);
    await this.world.fallocate(path, mode, offset, length, this.task);
    this.files.set(path, content);
  }

  /** Everything is as it should be now. */
  async verify(): Promise<void> {
    for (const [path, content] of this.files) {
      const found = await this.world.read(path, this.task).catch((error: unknown) => {
        throw new Error(`${path} is gone before any crash: ${String(error)}`, { cause: error });
      });
      if (!found.equals(content)) throw new Error(`${path} differs before any crash: ${difference(found, content)}`);
    }
  }
}

function difference(found: Buffer, wanted: Buffer): string {
  let at = 0;
  while (at < Math.min(found.length, wanted.length) && found[at] === wanted[at]) at++;
  return `${found.length} bytes, ${wanted.length} are right; the first difference is at ${at}`;
}

/** One life: work, then look at some moments at which it could have ended. */
async function life(seed: number): Promise<void> {
  const choose = numbers(seed);
  const random = (n: number): Buffer => Buffer.alloc(n, choose(256));
  // With quotas fsck looks at what is counted for whom, too.
  const world = await World.mount(await freshImage(SIZE, { random, quota: choose(2) === 0 }));
  const workers: Worker[] = [];
  for (let i = 0; i < 3; i++) {
    await world.mkdir(`w${i}`);
    await world.chown(`w${i}`, i + 1, i + 1);
    workers.push(new Worker(world, `w${i}`, numbers(seed + i + 1), i + 1));
  }
  await world.sync();
  const start = world.driver.events.length;
  const late = numbers(seed + 9);
  world.driver.delay = () => (late(3) === 0 ? late(60) : 0);
  const rounds = 30 + choose(90);
  await Promise.all(
    workers.map(async (worker) => {
      for (let i = 0; i < rounds; i++) await worker.step();
    }),
  );
  for (const worker of workers) await worker.verify();
  const events = world.driver.events.length;
  const flushes = world.driver.flushes().filter((at) => at >= start);
  for (let i = 0; i < CUTS; i++) {
    // Where a flush is about to end is where most hangs on it.
    const cut =
      i % 2 === 0 ? start + choose(events - start + 1) : (flushes[choose(Math.max(1, flushes.length))] ?? events);
    const image = world.driver.crash(cut, choose);
    await checkAfter(image, cut, workers);
  }
  await world.unmount();
  const left = await problemsOf(world.driver.now);
  if (left.length > 0) throw new Error(`after the unmount: ${left.join('; ')}`);
  if (world.said.length > 0) throw new Error(world.said.join('; '));
}

async function checkPromise(world: World, cut: number, { path, content, from, until, whole }: Promised): Promise<void> {
  if (cut < from || cut > whole) return;
  let found: Buffer;
  try {
    found = await world.read(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT') && cut > until) return;
    throw new Error(`cut ${cut}: ${path} was fsynced at ${from} and cannot be read: ${String(error)}`);
  }
  if (!found.equals(content))
    throw new Error(`cut ${cut}: ${path} was fsynced at ${from}: ${difference(found, content)}`);
}

/** No file shows what was another's. */
async function checkKinds(world: World, cut: number, dir: string): Promise<void> {
  for (const name of await world.list(dir)) {
    if (name.startsWith('d')) continue;
    const bytes = await world.read(`${dir}/${name}`);
    const kind = bytes.find((byte) => byte !== 0);
    const at = bytes.findIndex((byte) => byte !== 0 && byte !== kind);
    if (at >= 0) throw new Error(`cut ${cut}: ${dir}/${name} is of kind ${kind}, and ${bytes[at]} at ${at}`);
  }
}

async function checkAfter(image: Buffer, cut: number, workers: readonly Worker[]): Promise<void> {
  const before = await problemsOf(image);
  if (before.length > 0) throw new Error(`cut ${cut}: with the log replayed: ${before.join('; ')}`);
  const world = await World.mount(image);
  for (const { promises } of workers) for (const promise of promises) await checkPromise(world, cut, promise);
  for (const worker of workers) {
    try {
      await checkKinds(world, cut, worker.dir);
    } catch (error) {
      throw new Error(`cut ${cut}: ${String(error)}`, { cause: error });
    }
  }
  const busy = await world.unmount();
  if (busy > 0) throw new Error(`cut ${cut}: ${busy} inodes are in use after the unmount`);
  const after = await problemsOf(world.driver.now);
  if (after.length > 0) throw new Error(`cut ${cut}: after recovery: ${after.join('; ')}`);
}

const only = process.env['LATCHFS_CRASH_SEED'];

t.test('whatever moment a crash comes at, the filesystem is whole and keeps its promises', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1 << 30 }), async (seed) => {
      await life(seed);
    }),
    { numRuns: RUNS, endOnFailure: true, ...(only === undefined ? {} : { examples: [[Number(only)]] }) },
  );
  t.pass(`${RUNS} lives, ${CUTS} ends of each`);
});
