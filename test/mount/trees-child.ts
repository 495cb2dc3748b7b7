/**
 * What the tests of trees do on a mount, as a process of its own: `node trees-child.js KIND DIRECTORY COUNT DAEMON`. It prints one line of JSON, and ends with an
 * exception where something is not as it should be.
 */

import assert from 'node:assert/strict';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  opendirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import koffi from 'koffi';
import { XATTR_CREATE, XATTR_REPLACE } from '../../src/uapi/xattr.js';

/** Names that depend on the number only, and are spread over all lengths. */
function nameOf(i: number): string {
  return `${i}.${'abcdefghijklmnopqrstuvwxyz'.repeat(9).slice(0, (i * 31) % (i % 50 === 0 ? 230 : 14))}`;
}

/** Microseconds of processor time that this process and the daemon have had. */
function spent(daemon: number): number {
  const { user, system } = process.cpuUsage();
  const stat = readFileSync(`/proc/${daemon}/stat`, 'latin1');
  const [utime, stime] = stat.slice(stat.lastIndexOf(')')).split(' ').slice(12, 14);
  return user + system + ((Number(utime) + Number(stime)) * 1_000_000) / TICKS;
}

/** Ticks of a second in /proc. */
const TICKS = 100;

interface Cost {
  /** Microseconds of processor time of a step in the first and in the last tenth: other load matters little. */
  readonly first: number;
  readonly last: number;
  /** Microseconds that a step took in each tenth. */
  readonly took: readonly number[];
}

/** Do `step` for each number below `count`. */
function timed(count: number, daemon: number, step: (i: number) => void): Cost {
  const tenth = count / 10;
  const costs: number[] = [];
  const took: number[] = [];
  for (let done = 0; done < count; done += tenth) {
    const began = process.hrtime.bigint();
    const before = spent(daemon);
    for (let i = done; i < done + tenth; i++) step(i);
    costs.push((spent(daemon) - before) / tenth);
    took.push(Math.round(Number(process.hrtime.bigint() - began) / 1000 / tenth));
  }
  return { first: costs[0] ?? Number.NaN, last: costs[9] ?? Number.NaN, took };
}

/** How many files are made elsewhere before anything is measured: by then the daemon's code is compiled. */
const WARM = 5000;

/** Create names in one directory, and find them. The last create must cost at most twice what the first did. */
function many(dir: string, count: number, daemon: number): object {
  const [warm, at] = [join(dir, 'warm'), join(dir, 'many')];
  const make = (where: string) => (i: number) => closeSync(openSync(join(where, nameOf(i)), 'wx'));
  mkdirSync(warm);
  timed(WARM, daemon, make(warm));
  rmSync(warm, { recursive: true });
  mkdirSync(at);
  const create = timed(count, daemon, make(at));
  assert.throws(() => openSync(join(at, nameOf(3)), 'wx'), { code: 'EEXIST' });
  return { create, ...foundAll(at, count, daemon) };
}

/** Every name is found, and listed once. */
function foundAll(at: string, count: number, daemon: number): { lookup: Cost } {
  const inodes = new Set<number>();
  const lookup = timed(count, daemon, (i) => inodes.add(statSync(join(at, nameOf(i))).ino));
  assert.equal(inodes.size, count, 'every name has an inode of its own');
  const listed = readdirSync(at);
  assert.equal(listed.length, count);
  const names = new Set(listed);
  assert.equal(names.size, count, 'nothing is listed twice');
  for (let i = 0; i < count; i++) assert.ok(names.has(nameOf(i)), `${nameOf(i)} is listed`);
  assert.throws(() => statSync(join(at, 'none')), { code: 'ENOENT' });
  return { lookup };
}

/** Find all that `many` has made, rename some and remove all. */
function manyGone(dir: string, count: number, daemon: number): object {
  const at = join(dir, 'many');
  const found = foundAll(at, count, daemon);
  assert.throws(() => rmdirSync(at), { code: 'ENOTEMPTY' });
  for (let i = 0; i < count; i += 97) renameSync(join(at, nameOf(i)), join(at, `renamed ${i}`));
  const { blocks } = statSync(at);
  // Remove while listing: what was there at the start is seen once all the same.
  const open = opendirSync(at, { bufferSize: 16 });
  let removed = 0;
  const began = process.hrtime.bigint();
  for (let entry = open.readSync(); entry !== null; entry = open.readSync()) {
    unlinkSync(join(at, entry.name));
    removed++;
  }
  const remove = Number(process.hrtime.bigint() - began) / 1000 / removed;
  open.closeSync();
  assert.equal(removed, count);
  assert.deepEqual(readdirSync(at), []);
  assert.equal(statSync(at).blocks, 0, 'an empty directory has no blocks');
  rmdirSync(at);
  return { blocks, ...found, remove };
}

/** Keep a directory for another mount to find. */
function keep(dir: string, count: number): object {
  const at = join(dir, 'kept');
  mkdirSync(at);
  for (let i = 0; i < count; i++) writeFileSync(join(at, nameOf(i)), String(i));
  return {};
}

function kept(dir: string, count: number): object {
  const at = join(dir, 'kept');
  assert.equal(readdirSync(at).length, count);
  const byte = Buffer.alloc(16);
  for (let i = 0; i < count; i++) {
    const fd = openSync(join(at, nameOf(i)), 'r');
    assert.equal(byte.toString('latin1', 0, readSync(fd, byte)), String(i));
    closeSync(fd);
  }
  return {};
}

/** Where block `i` of the sparse file is: all over 1 TiB. */
function placeOf(i: number): number {
  return ((i * 2_654_435_761) % 2 ** 28) * 4096;
}

/** Write blocks all over a file of 1 TiB. */
function sparse(dir: string, count: number): object {
  const fd = openSync(join(dir, 'sparse'), 'w+');
  const block = Buffer.alloc(4096);
  for (let i = 0; i < count; i++) {
    block.writeUInt32LE(i);
    block.writeUInt32LE(i, 4092);
    writeSync(fd, block, 0, 4096, placeOf(i));
  }
  fsyncSync(fd);
  closeSync(fd);
  const { size, blocks } = statSync(join(dir, 'sparse'));
  assert.ok(size > 2 ** 39, `size ${size}`);
  assert.ok(blocks / 8 >= count && blocks / 8 < count * 1.02 + 20, `${blocks / 8} blocks`);
  return sparseKept(dir, count);
}

function sparseKept(dir: string, count: number): object {
  const fd = openSync(join(dir, 'sparse'), 'r+');
  const block = Buffer.alloc(4096);
  const places = new Map<number, number>();
  for (let i = 0; i < count; i++) places.set(placeOf(i), i);
  for (const [place, i] of places) {
    readSync(fd, block, 0, 4096, place);
    assert.deepEqual([block.readUInt32LE(), block.readUInt32LE(4092)], [i, i]);
    if (!places.has(place + 4096)) {
      const length = readSync(fd, block, 0, 4096, place + 4096);
      assert.ok(length === 0 || block.every((byte) => byte === 0), 'a hole reads as zeroes');
    }
  }
  closeSync(fd);
  return { blocks: statSync(join(dir, 'sparse')).blocks };
}

const libc = koffi.load(null);
const set = libc.func('int lsetxattr(str path, str name, void *value, size_t size, int flags)');
const get = libc.func('int64_t lgetxattr(str path, str name, void *value, size_t size)');
const list = libc.func('int64_t llistxattr(str path, void *list, size_t size)');
const drop = libc.func('int lremovexattr(str path, str name)');

/** What a call returned, or the errno that it failed with. */
function outcome(result: number): string {
  return result >= 0 ? String(result) : `errno ${koffi.errno()}`;
}

/** The answers to requests of all kinds: the same as of a filesystem of the kernel. */
function xattrs(dir: string): object {
  const file = join(dir, 'attributes');
  const link = join(dir, 'link');
  writeFileSync(file, '');
  symlinkSync('attributes', link);
  const room = Buffer.alloc(70_000);
  const value = Buffer.from('value');
  const names = (size: number): string =>
    room
      .toString('latin1', 0, size)
      .split('\0')
      .filter((name) => name.startsWith('user.'))
      .sort()
      .join(' ');
  const answers: Record<string, string> = {
    'get what is not there': outcome(get(file, 'user.none', room, 100)),
    'remove what is not there': outcome(drop(file, 'user.none')),
    'replace what is not there': outcome(set(file, 'user.a', value, 5, XATTR_REPLACE)),
    create: outcome(set(file, 'user.a', value, 5, XATTR_CREATE)),
    'create what is there': outcome(set(file, 'user.a', value, 5, XATTR_CREATE)),
    replace: outcome(set(file, 'user.a', value, 4, XATTR_REPLACE)),
    'both flags': outcome(set(file, 'user.a', value, 4, XATTR_CREATE | XATTR_REPLACE)),
    'another flag': outcome(set(file, 'user.a', value, 4, 8)),
    'the length': outcome(get(file, 'user.a', null, 0)),
    'too little room': outcome(get(file, 'user.a', room, 3)),
    'the value': outcome(get(file, 'user.a', room, 100)) + room.toString('latin1', 0, 4),
    'an empty value': outcome(set(file, 'user.empty', value, 0, 0)),
    'its length': outcome(get(file, 'user.empty', room, 100)),
    'a long value': outcome(set(file, 'user.long', Buffer.alloc(5000, 7), 5000, 0)),
    'its bytes': outcome(get(file, 'user.long', room, 70_000)) + String(room.subarray(0, 5000).every((b) => b === 7)),
    'too long a value': outcome(set(file, 'user.big', room, 65_537, 0)),
    'too long a name': outcome(set(file, `user.${'n'.repeat(251)}`, value, 5, 0)),
    'the longest name': outcome(set(file, `user.${'n'.repeat(250)}`, value, 5, 0)),
    'no name': outcome(set(file, 'user.', value, 5, 0)),
    'an unknown kind': outcome(set(file, 'other.a', value, 5, 0)),
    'a list without room': outcome(list(file, room, 8)),
    'the list': String(names(list(file, room, 70_000))),
    'of a symlink': outcome(set(link, 'user.a', value, 5, 0)),
    'trusted, of a symlink': outcome(set(link, 'trusted.a', value, 5, 0)),
    remove: outcome(drop(file, 'user.a')),
    'the list after': String(names(list(file, room, 70_000))),
  };
  unlinkSync(file);
  unlinkSync(link);
  return answers;
}

/** The largest values and lists, in `count` files. */
function large(dir: string, count: number): object {
  const room = Buffer.alloc(70_000);
  for (let i = 0; i < count; i++) {
    const file = join(dir, `large${i}`);
    writeFileSync(file, '');
    for (const size of [1, 1024, 1025, 20_000, 65_536]) {
      assert.equal(set(file, `user.${size}`, Buffer.alloc(size, size % 251), size, 0), 0);
    }
    for (let n = 0; n < 200; n++) assert.equal(set(file, `user.${String(n).padStart(250, '-')}`, room, 3, 0), 0);
  }
  return largeKept(dir, count);
}

function largeKept(dir: string, count: number): object {
  const room = Buffer.alloc(70_000);
  for (let i = 0; i < count; i++) {
    const file = join(dir, `large${i}`);
    for (const size of [1, 1024, 1025, 20_000, 65_536]) {
      assert.equal(get(file, `user.${size}`, room, 70_000), size);
      assert.ok(
        room.subarray(0, size).every((byte) => byte === size % 251),
        `the value of ${size} bytes`,
      );
    }
    assert.ok(list(file, room, 70_000) > 200 * 256);
  }
  return {};
}

const kinds = { many, manyGone, keep, kept, sparse, sparseKept, xattrs, large, largeKept };
const [kind = '', dir = '', count = '0', daemon = '0'] = process.argv.slice(2);
const chosen = Object.entries(kinds).find(([name]) => name === kind);
if (chosen === undefined) throw new Error(`no kind of work: ${kind}`);
console.log(JSON.stringify(chosen[1](dir, Number(count), Number(daemon))));
