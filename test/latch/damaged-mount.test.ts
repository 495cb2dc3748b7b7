/**
 * A damaged image, or one that somebody has made to do harm, is refused or can be used: what hits the damage fails with an errno, and nothing else happens.
 * Nothing hangs, no rule is broken, and fsck -y can repair what is left. DAMAGED=FROM-TO plays other seeds.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import type { DiskInode } from '../../src/latch/format/inode.js';
import { INODE_SIZE, ROOT_INO } from '../../src/latch/format/layout.js';
import { FormatError } from '../../src/latch/format/superblock.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { Errno } from '../../src/sched/errno.js';
import { O_CREAT, O_DIRECT, O_RDWR, O_TRUNC } from '../../src/uapi/fcntl.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../../src/uapi/stat.js';
import { Damaged } from './damage.js';
import { type Base, base } from './furnished.js';
import { Victim } from './victim.js';
import { freshImage, numbers, repaired, World } from './world.js';

const [FROM = 1, TO = 6] = (process.env['DAMAGED'] ?? '').split('-').filter(Boolean).map(Number);
/** Directories can go round in circles. */
const MOST = 600;

/** Somebody who uses all that there is, and gives up nowhere. */
class User {
  readonly #sys: Syscalls;
  readonly #choose: (n: number) => number;
  readonly #paths = [''];
  readonly outcomes = new Map<string, number>();

  constructor(sys: Syscalls, choose: (n: number) => number) {
    this.#sys = sys;
    this.#choose = choose;
  }

  async #try<T>(body: () => Promise<T>): Promise<T | undefined> {
    let result: T | undefined;
    let outcome = 'ok';
    try {
      result = await body();
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      outcome = error.code;
    }
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
    return result;
  }

  async #file(path: string, flags: number, body: (fd: number) => Promise<unknown>): Promise<void> {
    const fd = await this.#try(() => this.#sys.open(path, flags, 0o644));
    if (fd === undefined) return;
    await this.#try(() => body(fd));
    await this.#try(() => this.#sys.close(fd));
  }

  async look(): Promise<void> {
    const sys = this.#sys;
    for (let i = 0; i < this.#paths.length && i < MOST; i++) {
      const path = this.#paths[i] ?? '';
      const st = await this.#try(() => sys.lstat(path === '' ? '/' : path));
      for (const name of (await this.#try(() => sys.llistxattr(path === '' ? '/' : path))) ?? []) {
        await this.#try(() => sys.lgetxattr(path === '' ? '/' : path, name, 65_536));
      }
      if (st === undefined) continue;
      const type = st.mode & S_IFMT;
      if (type === S_IFREG) {
        await this.#file(path, 0, async (fd) => {
          for (const at of [0, 60_000, 3_200_000, Math.max(0, st.size - 5000)])
            await this.#try(() => sys.pread(fd, 9000, at));
          await sys.lseek(fd, 0, 3);
          await sys.lseek(fd, 0, 4);
        });
      } else if (type === S_IFDIR) {
        await this.#file(path === '' ? '/' : path, 0, async (fd) => {
          for (const { name } of await sys.getdents(fd, MOST)) {
            if (name !== '.' && name !== '..' && !name.includes('/') && path.length < 300)
              this.#paths.push(`${path}/${name}`);
          }
        });
      } else await this.#try(() => sys.readlink(path));
    }
  }

  async change(): Promise<void> {
    const sys = this.#sys;
    const choose = this.#choose;
    const path = this.#paths[1 + choose(Math.max(1, this.#paths.length - 1))] ?? '/large';
    const other = this.#paths[1 + choose(Math.max(1, this.#paths.length - 1))] ?? '/large';
    const at = choose(400) * 8192 + choose(5000);
    const modes = [0, 1, 3, 0x10, 0x11, 8, 0x20];
    const mode = modes[choose(modes.length)] ?? 0;
    const calls: readonly (() => Promise<unknown>)[] = [
      () => this.#file(path, O_RDWR, (fd) => sys.pwrite(fd, Buffer.alloc(1 + choose(20_000), 1), at)),
      () => this.#file(path, O_RDWR | O_DIRECT, (fd) => sys.pwrite(fd, Buffer.alloc(4096, 1), at & ~4095)),
      () =>
        this.#file(path, O_RDWR, (fd) => sys.fallocate(fd, mode, mode === 8 || mode === 0x20 ? at & ~4095 : at, 8192)),
      () => this.#file(path, O_RDWR | O_TRUNC, (fd) => sys.fsync(fd)),
      () => this.#file(`${path}/new${choose(20)}`, O_RDWR | O_CREAT, (fd) => sys.pwrite(fd, Buffer.alloc(100), 0)),
      () => sys.truncate(path, choose(2) === 0 ? choose(100_000) : choose(4_000_000)),
      () => sys.unlink(path),
      () => sys.rmdir(path),
      () => sys.mkdir(`${path}/dir${choose(20)}`, 0o755),
      () => sys.rename(path, other),
      () => sys.renameat2(-100, path, -100, other, 2),
      () => sys.rename(path, `${other}/moved${choose(20)}`),
      () => sys.link(path, `${other}/linked${choose(20)}`),
      () => sys.setxattr(path, 'user.b', Buffer.alloc(choose(3) === 0 ? 5000 : 100, 1)),
      () => sys.removexattr(path, 'user.large'),
      () => sys.chown(path, choose(5), choose(5)),
      () => sys.sync(),
    ];
    await this.#try(calls[choose(calls.length)] ?? (() => sys.sync()));
  }
}

async function use(image: Buffer, choose: (n: number) => number): Promise<{ left: Buffer; how: string } | undefined> {
  let world: World;
  try {
    world = await World.mount(image, 0, choose(6) === 0);
  } catch (error) {
    if (error instanceof FormatError || error instanceof Errno) return undefined;
    throw error;
  }
  const user = new Process(world.sb);
  const busybody = new User(syscalls(user), choose);
  await busybody.look();
  for (let i = 0; i < 80; i++) {
    if (choose(20) === 0) world.sched.fireTimers();
    await busybody.change();
  }
  await busybody.look();
  await user.exit();
  const busy = await world.unmount();
  if (busy > 0) throw new Error(`${busy} inodes are in use after the unmount`);
  const { validator } = world.sb.machine;
  if (validator instanceof Lockdep && validator.total > 0) throw new Error([...validator.counts().keys()].join('; '));
  return { left: world.driver.now, how: [...busybody.outcomes].map(([what, n]) => `${what} ${n}`).join() };
}

async function play({ image, pieces }: Base, seed: number): Promise<string | undefined> {
  const choose = numbers(seed);
  const damaged = new Damaged(image, pieces, choose);
  for (let left = 1 + choose(choose(2) === 0 ? 2 : 6); left > 0; left--) damaged.damage();
  const tell = (what: string): string => `seed ${seed}: ${what}\n  ${damaged.log.join('\n  ')}`;
  try {
    const used = await Promise.race([use(damaged.image, choose), sleep(30_000, 'hangs' as const, { ref: false })]);
    if (used === 'hangs') return tell('it hangs');
    if (process.env['DAMAGED'] !== undefined) t.comment(`seed ${seed}: ${used?.how ?? 'refused'}`);
    const { lines, result } = await repaired(used?.left ?? damaged.image);
    return result.left > 0 ? tell(`left: ${lines.join(' | ')}`) : undefined;
  } catch (error) {
    return tell(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

t.test('a damaged filesystem is refused or does no harm', async (t) => {
  const bases = [await base(1, false, false), await base(2, true, false), await base(4, true, true)];
  for (let seed = FROM; seed <= TO; seed++) {
    const one = bases[seed % bases.length];
    const wrong = one === undefined ? 'no base' : await play(one, seed);
    if (wrong !== undefined) t.fail(wrong);
  }
  t.pass(`${TO - FROM + 1} seeds`);
});

const fields: readonly [string, Partial<DiskInode>][] = [
  ['no links', { nlink: 0 }],
  ['one link', { nlink: 1 }],
  ['as many links as there can be', { nlink: 0xffffffff }],
  ['no blocks', { blocks: 0 }],
  ['as many blocks as there can be', { blocks: 2 ** 48 - 1 }],
  ['no bytes', { size: 0 }],
  ['one byte', { size: 1 }],
  ['the largest size', { size: 2 ** 44 - 4096 }],
  ['a size beyond the limit', { size: 2 ** 44 + 5 }],
  ['a size that no number can hold', { size: 2 ** 53 }],
  ['the largest generation', { generation: 0xffffffff }],
  ['owners that nobody is', { uid: 0xffffffff, gid: 0xffffffff, projid: 0xffffffff }],
  ['all flags', { flags: 0xffffffff }],
  ['times beyond all', { mtime: { sec: 2 ** 39, nsec: 0xffffffff }, atime: { sec: -(2 ** 39), nsec: 0xffffffff } }],
  ['a parent that is none', { parent: 2 ** 47 }],
  ['a next orphan', { nextOrphan: 2 ** 47 }],
  ['no attributes', { xattrBlock: 0 }],
  ['attributes beyond the device', { xattrBlock: 0xffffffff }],
  ['attributes in the superblock', { xattrBlock: 1 }],
];

/** What is counted comes first. */
const tried = process.env['DAMAGED'] === undefined ? fields.slice(0, 5) : fields;

for (const [name, change] of tried) {
  t.test(`all inodes have ${name}`, async (t) => {
    const { image, pieces } = await base(5, false, true);
    const victim = new Victim(image);
    const wrong: string[] = [];
    for (const { kind, at } of pieces) {
      const ino = at / INODE_SIZE;
      try {
        if (kind === 'inode' && ino !== ROOT_INO) victim.editInode(ino, change);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        t.comment(`inode ${ino}: it has no place in an inode`);
      }
    }
    try {
      for (const seed of process.env['DAMAGED'] === undefined ? [1] : [1, 2, 3]) {
        const used = await use(victim.image, numbers(seed));
        if (process.env['DAMAGED'] !== undefined) t.comment(used?.how ?? 'refused');
        const { lines, result } = await repaired(used?.left ?? victim.image);
        if (result.left > 0) wrong.push(`left: ${lines.join(' | ')}`);
      }
    } catch (error) {
      wrong.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    t.same(wrong, []);
  });
}

t.test('a file that says it is larger than one can be is not shown', async (t) => {
  const before = await World.mount(await freshImage(4 << 20));
  for (const name of ['/f', '/g']) {
    await before.create(name);
    await before.write(name, 0, Buffer.alloc(9000, 'f'));
  }
  const ino = await before.at('/f', ({ d_inode }) => d_inode?.i_ino ?? 0);
  await before.unmount();
  const victim = new Victim(before.driver.now);
  victim.editInode(ino, { size: 2 ** 44 });
  const world = await World.mount(victim.image);
  await t.rejects(
    world.at('/f', ({ d_inode }) => d_inode?.i_size),
    { code: 'EIO' },
  );
  t.ok((await world.read('/g')).equals(Buffer.alloc(9000, 'f')));
  await world.unmount();
  const { image, result } = await repaired(world.driver.now);
  t.equal(result.left, 0);
  const after = await World.mount(image);
  t.ok((await after.read('/f')).subarray(0, 9000).equals(Buffer.alloc(9000, 'f')));
  await after.unmount();
});

t.test('a file that says it has no links is not deleted by who looks at it', async (t) => {
  const before = await World.mount(await freshImage(4 << 20));
  await before.create('/f');
  await before.write('/f', 0, Buffer.alloc(9000, 'f'));
  const ino = await before.at('/f', ({ d_inode }) => d_inode?.i_ino ?? 0);
  await before.unmount();
  const victim = new Victim(before.driver.now);
  victim.editInode(ino, { nlink: 0 });
  const world = await World.mount(victim.image);
  await t.rejects(world.read('/f'), { code: 'EIO' });
  await t.rejects(world.unlink('/f'), { code: 'EIO' });
  await world.unmount();
  const { image, result } = await repaired(world.driver.now);
  t.equal(result.left, 0);
  const after = await World.mount(image);
  t.ok((await after.read('/f')).equals(Buffer.alloc(9000, 'f')));
  await after.unmount();
});
