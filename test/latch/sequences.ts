/**
 * Short sequences of system calls, and what a crash may leave of them: one order of changes of names, owners and attributes, cut off somewhere, but not before
 * what was synced; and in each file bytes that it held at some time since it was synced.
 */

import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { Errno, errno } from '../../src/sched/errno.js';
import { AT_FDCWD, O_CREAT, O_DIRECT, O_RDWR, O_SYNC, O_TRUNC } from '../../src/uapi/fcntl.js';
import { RENAME_EXCHANGE } from '../../src/uapi/fs.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../src/uapi/stat.js';
import { settle } from './journal/crash-device.js';
import { freshImage, problemsOf, World } from './world.js';

const SIZE = 4 << 20;
/** What free blocks hold: no file may show it. */
const TRACE = 'T';

/** Whom a call has synced: a path, everything, or nobody. */
type Synced = 'all' | 'none' | { readonly path: string; readonly data: boolean; readonly names: boolean };

export interface Op {
  readonly name: string;
  /** @param fill the byte that this call writes, so that whoever shows it is known */
  run(sys: Syscalls, world: World, fill: number): Promise<unknown>;
  readonly syncs?: Synced;
}

async function withFile<T>(sys: Syscalls, path: string, flags: number, body: (fd: number) => Promise<T>): Promise<T> {
  const fd = await sys.open(path, flags, 0o644);
  try {
    return await body(fd);
  } finally {
    await sys.close(fd);
  }
}

function op(name: string, run: Op['run'], syncs: Synced = 'none'): Op {
  return { name, run, syncs };
}

function write(path: string, pos: number | 'end', length: number, flags = 0): Op {
  const syncs = (flags & O_SYNC) === 0 ? 'none' : { path, data: true, names: true };
  const how = `${(flags & O_DIRECT) === 0 ? '' : ' directly'}${(flags & O_SYNC) === 0 ? '' : ' in sync'}`;
  return op(
    `write ${path} ${pos}+${length}${how}`,
    (sys, _world, fill) =>
      withFile(sys, path, O_RDWR | O_CREAT | flags, async (fd) => {
        const at = pos === 'end' ? (await sys.fstat(fd)).size : pos;
        await sys.pwrite(fd, Buffer.alloc(length, fill), at);
      }),
    syncs,
  );
}

function mapped(path: string, page: number, sync: boolean): Op {
  return op(
    `store to ${path} page ${page}${sync ? ' and msync' : ''}`,
    (sys, _world, fill) =>
      withFile(sys, path, O_RDWR, async (fd) => {
        if ((await sys.fstat(fd)).size <= page * 4096) throw errno('ENXIO', 'there is no such page');
        const at = await sys.mmap(0, 4096, 3, 1, fd, page * 4096);
        try {
          await sys.store(at + 100, Buffer.alloc(700, fill));
          if (sync) await sys.msync(at, 4096, 4);
        } finally {
          await sys.munmap(at, 4096);
        }
      }),
    sync ? { path, data: true, names: true } : 'none',
  );
}

function fallocate(path: string, mode: number, offset: number, length: number): Op {
  return op(`fallocate ${mode} ${path} ${offset}+${length}`, (sys) =>
    withFile(sys, path, O_RDWR | O_CREAT, (fd) => sys.fallocate(fd, mode, offset, length)),
  );
}

function fsync(path: string, data = false): Op {
  return op(
    `${data ? 'fdatasync' : 'fsync'} ${path}`,
    (sys) => withFile(sys, path, 0, (fd) => (data ? sys.fdatasync(fd) : sys.fsync(fd))),
    { path, data: true, names: !data },
  );
}

const rename = (from: string, to: string): Op => op(`rename ${from} ${to}`, (sys) => sys.rename(from, to));

export const changes: readonly Op[] = [
  op('create /foo', (sys) => withFile(sys, '/foo', O_CREAT | O_RDWR, async () => undefined)),
  op('create /A/foo', (sys) => withFile(sys, '/A/foo', O_CREAT | O_RDWR, async () => undefined)),
  op('mkdir /A/C', (sys) => sys.mkdir('/A/C', 0o755)),
  op('rmdir /A/C', (sys) => sys.rmdir('/A/C')),
  op('rmdir /B', (sys) => sys.rmdir('/B')),
  op('link /foo /A/bar', (sys) => sys.link('/foo', '/A/bar')),
  op('link /old /bar', (sys) => sys.link('/old', '/bar')),
  op('symlink /A/sl', (sys) => sys.symlink('t'.repeat(300), '/A/sl')),
  rename('/foo', '/bar'),
  rename('/foo', '/A/foo'),
  rename('/A/foo', '/old'),
  rename('/old', '/A/foo'),
  rename('/A', '/B'),
  rename('/A/C', '/B/C'),
  op('write /foo anew, and rename it to /old', async (sys, _world, fill) => {
    await withFile(sys, '/foo', O_CREAT | O_TRUNC | O_RDWR, (fd) => sys.write(fd, Buffer.alloc(7000, fill)));
    await sys.rename('/foo', '/old');
  }),
  op('exchange /foo /old', (sys) => sys.renameat2(AT_FDCWD, '/foo', AT_FDCWD, '/old', RENAME_EXCHANGE)),
  op('unlink /foo', (sys) => sys.unlink('/foo')),
  op('unlink /old', (sys) => sys.unlink('/old')),
  op('unlink /A/foo', (sys) => sys.unlink('/A/foo')),
  write('/foo', 0, 5000),
  write('/A/foo', 0, 100),
  write('/old', 'end', 3000),
  write('/old', 4096, 4096),
  write('/old', 50_000, 2000),
  write('/old', 0, 4096, O_DIRECT),
  write('/old', 'end', 4096, O_DIRECT),
  write('/old', 1000, 512, O_DIRECT),
  write('/foo', 8192, 4096, O_DIRECT),
  write('/old', 3000, 9000, O_SYNC),
  write('/foo', 0, 8192, O_SYNC | O_DIRECT),
  mapped('/old', 1, false),
  mapped('/old', 1, true),
  mapped('/foo', 0, false),
  fallocate('/foo', 0, 0, 8192),
  fallocate('/old', 1, 12_288, 8192),
  fallocate('/old', 3, 4000, 5000),
  fallocate('/old', 3, 0, 65_536),
  fallocate('/old', 0x10, 100, 12_000),
  fallocate('/old', 0x11, 8192, 16_384),
  fallocate('/old', 8, 4096, 4096),
  fallocate('/old', 0x20, 4096, 8192),
  op('truncate /old 0', (sys) => sys.truncate('/old', 0)),
  op('truncate /old 5000', (sys) => sys.truncate('/old', 5000)),
  op('truncate /old 20000', (sys) => sys.truncate('/old', 20_000)),
  op('truncate /foo 100', (sys) => sys.truncate('/foo', 100)),
  op('setxattr /old small', (sys, _w, fill) => sys.setxattr('/old', 'user.a', Buffer.alloc(50, fill))),
  op('setxattr /old large', (sys, _w, fill) => sys.setxattr('/old', 'user.a', Buffer.alloc(5000, fill))),
  op('setxattr /A', (sys, _w, fill) => sys.setxattr('/A', 'user.a', Buffer.alloc(2000, fill))),
  op('removexattr /old', (sys) => sys.removexattr('/old', 'user.o')),
  op('chmod /old', (sys) => sys.chmod('/old', 0o600)),
  op('chown /A', (sys) => sys.chown('/A', 5, 6)),
  op('copy /old to /foo', (sys) =>
    withFile(sys, '/old', 0, (from) =>
      withFile(sys, '/foo', O_CREAT | O_RDWR, (to) => sys.copy_file_range(from, 0, to, 100, 9000)),
    ),
  ),
  op('time goes by', async (_sys, world) => {
    for (let i = 0; i < 3; i++) {
      world.sched.fireTimers();
      for (let turn = 0; turn < 5; turn++) await settle();
    }
  }),
];

export const syncs: readonly Op[] = [
  fsync('/foo'),
  fsync('/old'),
  fsync('/bar'),
  fsync('/A/foo'),
  fsync('/A/bar'),
  fsync('/old', true),
  fsync('/foo', true),
  fsync('/A'),
  fsync('/B'),
  fsync('/'),
  op('sync', (sys) => sys.sync(), 'all'),
];

/** What there is of one inode; `record` has all but the bytes. */
export interface Seen {
  readonly record: string;
  readonly bytes: Buffer | undefined;
}

export interface Snapshot {
  readonly inodes: Map<number, Seen>;
  readonly paths: Map<string, number>;
}

/** All that can be seen, by inode. */
export async function look(sys: Syscalls): Promise<Snapshot> {
  const records = new Map<number, string[]>();
  const bytes = new Map<number, Buffer>();
  const paths = new Map<string, number>();
  const walk = async (path: string, name: string): Promise<void> => {
    const st = await sys.lstat(path);
    const type = st.mode & S_IFMT;
    const lines = records.get(st.ino) ?? [];
    records.set(st.ino, lines);
    paths.set(path, st.ino);
    if (lines.length === 0) {
      const attributes: string[] = [];
      for (const attribute of (await sys.llistxattr(path)).sort()) {
        const value = await sys.lgetxattr(path, attribute, 65_536);
        attributes.push(`${attribute}=${value[0]}x${value.length}${value.every((b) => b === value[0]) ? '' : '!'}`);
      }
      const target = type === S_IFLNK ? await sys.readlink(path) : '';
      lines.push(`${st.mode.toString(8)} ${st.uid}:${st.gid} links ${st.nlink} ${attributes.join()} ${target}`);
      if (type === S_IFREG) {
        bytes.set(st.ino, await withFile(sys, path, 0, (fd) => sys.pread(fd, st.size, 0)));
      }
    }
    lines.push(name);
    if (type !== S_IFDIR) return;
    const entries = await withFile(sys, path, 0, (fd) => sys.getdents(fd));
    for (const entry of entries) {
      if (entry.name === '.' || entry.name === '..') continue;
      await walk(`${path === '/' ? '' : path}/${entry.name}`, `in ${st.ino} as ${entry.name}`);
    }
  };
  await walk('/', 'root');
  const inodes = new Map<number, Seen>();
  for (const [ino, [first = '', ...names]] of records) {
    inodes.set(ino, { record: [first, ...names.sort()].join('; '), bytes: bytes.get(ino) });
  }
  return { inodes, paths };
}

export function treeOf(snapshot: Snapshot): string {
  return [...snapshot.inodes]
    .sort(([a], [b]) => a - b)
    .map(([ino, { record }]) => `${ino}: ${record}`)
    .join('\n');
}

let base: Promise<Buffer> | undefined;

/** Two directories and a file of three pages that have been there for long. */
export function baseImage(): Promise<Buffer> {
  base ??= (async () => {
    let n = 0;
    const random = (length: number): Buffer => Buffer.alloc(length, ++n);
    const world = await World.mount(await freshImage(SIZE, { random }, TRACE));
    const process = new Process(world.sb);
    const sys = syscalls(process);
    await sys.mkdir('/A', 0o755);
    await sys.mkdir('/B', 0o755);
    await withFile(sys, '/old', O_CREAT | O_RDWR, (fd) => sys.write(fd, Buffer.alloc(12_288, 'o')));
    await sys.setxattr('/old', 'user.o', Buffer.alloc(30, 'o'));
    await process.exit();
    await world.unmount();
    return world.driver.now;
  })();
  return base;
}

async function inLife<T>(image: Buffer, body: (sys: Syscalls, world: World) => Promise<T>): Promise<T> {
  const world = await World.mount(image);
  const process = new Process(world.sb);
  const result = await body(syscalls(process), world);
  await process.exit();
  const busy = await world.unmount();
  const said = world.said.filter((line) => !/: (replayed|deleted) /.test(line));
  if (busy > 0) said.push(`${busy} inodes are in use after the unmount`);
  if (said.length > 0) throw new Error(said.join('; '));
  return result;
}

async function outcome(body: () => Promise<unknown>): Promise<boolean> {
  try {
    await body();
    return true;
  } catch (error) {
    if (error instanceof Errno) return false;
    throw error;
  }
}

/** From which snapshot on a crash must leave what it does. */
interface Floor {
  readonly names: number;
  /** By inode. */
  readonly data: ReadonlyMap<number, number>;
}

/** The floor after a call that has synced, and the snapshots up to its end. */
function raised(floor: Floor, synced: Synced, snapshots: readonly Snapshot[]): Floor {
  const now = snapshots.length - 1;
  const last = snapshots[now];
  if (synced === 'none' || last === undefined) return floor;
  if (synced === 'all') return { names: now, data: new Map([...last.inodes.keys()].map((ino) => [ino, now])) };
  const ino = last.paths.get(synced.path);
  if (ino === undefined) return floor;
  const data = synced.data ? new Map(floor.data).set(ino, now) : floor.data;
  let { names } = floor;
  for (let i = now; synced.names && i > names; i--) {
    if (snapshots[i]?.inodes.get(ino)?.record === snapshots[i - 1]?.inodes.get(ino)?.record) continue;
    names = i;
    break;
  }
  return { names, data };
}

/**
 * @param moved what the file holds may have been moved within it: blocks that are written in place stand at another place then, if the move is lost
 * @returns what is wrong with the bytes of a file that can have been any of `versions`
 */
function wrongBytes(found: Buffer, versions: readonly Buffer[], moved: boolean): string | undefined {
  const sizes = versions.map(({ length }) => length);
  if (found.length < Math.min(...sizes) || found.length > Math.max(...sizes)) {
    return `${found.length} bytes, which may be ${sizes.join()}`;
  }
  const anywhere = new Set(moved ? Buffer.concat(versions) : []);
  const at = found.findIndex((byte, i) => {
    if (anywhere.has(byte) || versions.some((version) => version[i] === byte && i < version.length)) return false;
    return byte !== 0 || versions.every((version) => i < version.length && version[i] !== 0);
  });
  if (at < 0) return undefined;
  return `byte ${at} is ${found[at]}, which may be ${versions.map((version) => version[at] ?? 'beyond the end').join()}`;
}

/** @returns the last snapshot up to `names` before which the file took the name of another: what it held then is on the device with that (auto_da_alloc) */
function replaced(snapshots: readonly Snapshot[], ino: number, names: number): number {
  for (let i = names; i > 0; i--) {
    const [before, now] = [snapshots[i - 1], snapshots[i]];
    if (before === undefined || now === undefined) continue;
    for (const [path, its] of now.paths) {
      const old = before.paths.get(path);
      if (its !== ino || old === undefined || old === ino) continue;
      // Exchanged files are not written.
      if (![...now.paths.values()].includes(old) || now.paths.size < before.paths.size) return i;
    }
  }
  return 0;
}

function judge(
  found: Snapshot,
  snapshots: readonly Snapshot[],
  floor: Floor,
  until: number,
  moved: boolean,
): string | undefined {
  const tree = treeOf(found);
  let [first, like] = [-1, -1];
  for (let i = floor.names; i <= until; i++) {
    const one = snapshots[i];
    if (one === undefined || treeOf(one) !== tree) continue;
    if (first < 0) first = i;
    like = i;
  }
  if (like < 0) {
    const may = snapshots.slice(floor.names, until + 1).map(treeOf);
    return `names are as at no moment from ${floor.names} to ${until}:\n${tree}\n-- these may be --\n${may.join('\n--\n')}`;
  }
  for (const [ino, { bytes }] of found.inodes) {
    if (bytes === undefined) continue;
    const versions: Buffer[] = [];
    for (let i = Math.max(floor.data.get(ino) ?? 0, replaced(snapshots, ino, first)); i <= until; i++) {
      // Before it was made there was nothing in it.
      versions.push(snapshots[i]?.inodes.get(ino)?.bytes ?? Buffer.alloc(0));
    }
    const wrong = wrongBytes(bytes, versions, moved);
    if (wrong !== undefined) return `inode ${ino} at ${like}: ${wrong}`;
  }
  return undefined;
}

/**
 * Play a sequence, and look at what crashes leave of it.
 * @param choose a number in [0, n) @param cuts how many of the moments are looked at
 * @returns how many crashes were looked at @throws Error what is wrong
 */
export async function play(ops: readonly Op[], choose: (n: number) => number, cuts: number): Promise<number> {
  const image = await baseImage();
  const snapshots: Snapshot[] = [];
  const done: boolean[] = [];
  // The same once more without a crash says what was there when.
  await inLife(image, async (sys, world) => {
    snapshots.push(await look(sys));
    for (const [i, each] of ops.entries()) {
      done.push(await outcome(() => each.run(sys, world, 97 + i)));
      snapshots.push(await look(sys));
    }
  });
  const began: number[] = [];
  const floors: { readonly from: number; readonly floor: Floor }[] = [
    { from: 0, floor: { names: 0, data: new Map([...(snapshots[0]?.inodes.keys() ?? [])].map((ino) => [ino, 0])) } },
  ];
  const { events, crash } = await inLife(image, async (sys, world) => {
    const { driver } = world;
    for (const [i, each] of ops.entries()) {
      began.push(driver.events.length);
      const ok = await outcome(() => each.run(sys, world, 97 + i));
      if (ok !== done[i]) throw new Error(`${each.name} comes out otherwise the second time`);
      const { floor } = floors[floors.length - 1] ?? { floor: { names: 0, data: new Map<number, number>() } };
      const synced = ok ? (each.syncs ?? 'none') : 'none';
      floors.push({ from: driver.events.length, floor: raised(floor, synced, snapshots.slice(0, i + 2)) });
    }
    return { events: driver.events.length, crash: (cut: number, how: (n: number) => number) => driver.crash(cut, how) };
  });
  const moved = ops.some(({ name }) => /^fallocate (8|32) /.test(name));
  const ways: ((n: number) => number)[] = [(n) => n - 1, () => 0, choose, choose];
  for (let i = 0; i < cuts; i++) {
    const cut = i < 2 ? events : choose(events + 1);
    const way = ways[i % ways.length] ?? choose;
    const left = crash(cut, way);
    const floor = floors.filter(({ from }) => from <= cut).at(-1)?.floor;
    const until = began.filter((at) => at <= cut).length;
    if (floor === undefined) throw new Error('no floor');
    const tell = (what: string): Error =>
      new Error(
        `[${ops.map(({ name }) => name).join(' | ')}] cut ${cut} of ${events}, way ${i % ways.length}: ${what}`,
      );
    const problems = await problemsOf(left);
    if (problems.length > 0) throw tell(problems.join('; '));
    const wrong = judge(await inLife(left, look), snapshots, floor, until, moved);
    if (wrong !== undefined) throw tell(wrong);
  }
  return cuts;
}
