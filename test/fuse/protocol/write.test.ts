import fc from 'fast-check';
import t from 'tap';
import { DirentPacker } from '../../../src/fuse/protocol/dirents.js';
import { DirentType, INIT } from '../../../src/fuse/protocol/flags.js';
import { OUT_HEADER, type U64 } from '../../../src/fuse/protocol/message.js';
import * as notify from '../../../src/fuse/protocol/notify.js';
import { Out } from '../../../src/fuse/protocol/out.js';
import * as write from '../../../src/fuse/protocol/write.js';

const out = new Out(8192);
const time = (sec: number, nsec: number) => ({ sec, nsec });
const attr: write.Attr = {
  ino: 2 ** 40 + 7,
  size: 2 ** 52 + 1,
  blocks: 8,
  atime: time(-1, 999999999),
  mtime: time(2 ** 33, 2),
  ctime: time(3, 3),
  mode: 0o100644,
  nlink: 5,
  uid: 6,
  gid: 0xfffffffe,
  rdev: 8,
  blksize: 4096,
};
const entry: write.Entry = { nodeid: 11, generation: 2 ** 35, entry_valid: 1.5, attr_valid: Infinity, attr };

/** The body as the kernel would read it: q uint64, Q int64, I uint32, H uint16. */
function unpack(format: string, size: number): (number | bigint)[] {
  const values: (number | bigint)[] = [];
  let at = OUT_HEADER;
  for (const letter of format) {
    if (letter === 'q') values.push(Number(out.bytes.readBigUInt64LE(at)));
    else if (letter === 'Q') values.push(Number(out.bytes.readBigInt64LE(at)));
    else if (letter === 'I') values.push(out.bytes.readUInt32LE(at));
    else values.push(out.bytes.readUInt16LE(at));
    at += letter === 'H' ? 2 : letter === 'I' ? 4 : 8;
  }
  t.equal(at - OUT_HEADER, size, `${format}: size of the struct`);
  return values;
}

const ATTR = 'qqqQQQIIIIIIIIII';
const ATTR_VALUES = [2 ** 40 + 7, 2 ** 52 + 1, 8, -1, 2 ** 33, 3, 999999999, 2, 3, 0o100644, 5, 6, 0xfffffffe, 8, 4096];

t.beforeEach(() => {
  out.bytes.fill(0xee);
});

t.test('header', async (t) => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.nat(133), (unique, error) => {
      const value: U64 = unique < 2n ** 53n ? Number(unique) : unique;
      out.header(value, -error, 24);
      return (
        out.bytes.readUInt32LE(0) === 40 &&
        out.bytes.readInt32LE(4) === -error &&
        out.bytes.readBigUInt64LE(8) === unique
      );
    }),
  );
  t.pass('every unique comes back exactly');
});

t.test('signed integers', async (t) => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      out.put64(16, value);
      return out.bytes.readBigInt64LE(16) === BigInt(value);
    }),
  );
  t.pass();
});

t.test('structs', async (t) => {
  t.same(unpack(`qqqqII${ATTR}`, write.encodeEntry(out, entry, 1)), [
    11,
    2 ** 35,
    1,
    2 ** 40,
    500000000,
    0,
    ...ATTR_VALUES,
    1,
  ]);
  t.same(unpack(`qII${ATTR}`, write.encodeAttr(out, 0, attr)), [0, 0, 0, ...ATTR_VALUES, 0]);
  t.same(unpack(`qqqqII${ATTR}`, write.encodeNegativeEntry(out, 2)), [
    0,
    0,
    2,
    0,
    0,
    0,
    ...ATTR_VALUES.map(() => 0),
    0,
  ]);
  t.same(unpack(`qqqqII${ATTR}qII`, write.encodeCreate(out, entry, 3, 2)).slice(-3), [3, 2, 0]);
  t.same(unpack('qII', write.encodeOpen(out, 2 ** 50, 3)), [2 ** 50, 3, 0]);
  t.same(unpack('II', write.encodeWrite(out, 4096)), [4096, 0]);
  t.same(unpack('II', write.encodeGetxattr(out, 9)), [9, 0]);
  t.same(unpack('II', write.encodePoll(out, 5)), [5, 0]);
  t.same(unpack('q', write.encodeBmap(out, 2 ** 33)), [2 ** 33]);
  t.same(unpack('q', write.encodeLseek(out, 2 ** 33)), [2 ** 33]);
  t.same(unpack('q', write.encodeCopyFileRange(out, 2 ** 33)), [2 ** 33]);
  t.same(unpack('IIII', write.encodeIoctl(out, 1, 2, 3, 4)), [1, 2, 3, 4]);
  const whole = { start: 10, end: Number.MAX_SAFE_INTEGER, type: 1, pid: 42 };
  t.same(unpack('qqII', write.encodeLk(out, whole)), [10, 2 ** 63, 1, 42]);
  t.equal(out.bytes.readBigInt64LE(24), 2n ** 63n - 1n, 'OFFSET_MAX');
  const st = { blocks: 1, bfree: 2, bavail: 3, files: 4, ffree: 5, bsize: 6, namelen: 7, frsize: 8 };
  t.same(unpack('qqqqqIIIIIIIIII', write.encodeStatfs(out, st)), [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0]);
  const init: write.InitOut = {
    major: 7,
    minor: 45,
    max_readahead: 1,
    flags: INIT.INIT_EXT,
    max_background: 2,
    congestion_threshold: 3,
    max_write: 4,
    time_gran: 5,
    max_pages: 6,
    map_alignment: 7,
    flags2: 8,
    max_stack_depth: 9,
    request_timeout: 10,
  };
  t.same(unpack('IIIIHHIIHHIIHHIIIII', write.encodeInit(out, init)), [
    7,
    45,
    1,
    INIT.INIT_EXT,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
  const statx: write.Statx = {
    ...attr,
    mask: 0xfff,
    attributes: 16,
    attributes_mask: 48,
    btime: time(9, 10),
    rdev_major: 1,
    rdev_minor: 2,
    dev_major: 3,
    dev_minor: 4,
  };
  t.same(unpack('qIIqqIIqIIIHHqqqqQIIQIIQIIQIIIIIIqqqqqqqqqqqqqq', write.encodeStatx(out, 1, statx)), [
    ...[1, 0, 0, 0, 0, 0xfff, 4096, 16, 5, 6, 0xfffffffe, 0o100644, 0, 2 ** 40 + 7, 2 ** 52 + 1, 8, 48],
    ...[-1, 999999999, 0, 9, 10, 0, 3, 3, 0, 2 ** 33, 2, 0, 1, 2, 3, 4],
    ...Array<number>(14).fill(0),
  ]);
  t.equal(write.encodeString(out, 'a\xe9'), 2);
  t.same([...out.bytes.subarray(16, 18)], [0x61, 0xe9]);
  t.throws(() => write.encodeBytes(out, new Uint8Array(8200)), RangeError);
});

t.test('notifications', async (t) => {
  t.same(unpack('qQQ', notify.notifyInvalInode(out, 5, -1, 0)), [5, -1, 0]);
  t.equal(notify.notifyInvalEntry(out, 1, 'abc', 1), 20);
  t.equal(out.bytes.toString('latin1', 32, 36), 'abc\0');
  t.equal(notify.notifyDelete(out, 1, 2, 'abc'), 28);
  t.equal(out.bytes.toString('latin1', 40, 44), 'abc\0');
  t.same(unpack('qqII', notify.notifyStore(out, 1, 4096, 5)), [1, 4096, 5, 0]);
  t.same(unpack('qqqII', notify.notifyRetrieve(out, 2n ** 60n, 1, 4096, 5)), [2 ** 60, 1, 4096, 5, 0]);
  t.same(unpack('IIqqq', notify.notifyPrune(out, [7, 8])), [2, 0, 0, 7, 8]);
  t.same(unpack('q', notify.notifyPoll(out, 99)), [99]);
});

/** Reads a packed listing back as the kernel walks it. */
function walk(size: number, plus: boolean): { ino: number; off: number; type: number; name: string; nodeid: number }[] {
  const found = [];
  for (let at = OUT_HEADER; at < OUT_HEADER + size; ) {
    const nodeid = plus ? Number(out.bytes.readBigUInt64LE(at)) : 0;
    const dirent = at + (plus ? 128 : 0);
    const namelen = out.bytes.readUInt32LE(dirent + 16);
    found.push({
      ino: Number(out.bytes.readBigUInt64LE(dirent)),
      off: Number(out.bytes.readBigUInt64LE(dirent + 8)),
      type: out.bytes.readUInt32LE(dirent + 20),
      name: out.bytes.toString('latin1', dirent + 24, dirent + 24 + namelen),
      nodeid,
    });
    const end = dirent + 24 + ((namelen + 7) & ~7);
    if (!out.bytes.subarray(dirent + 24 + namelen, end).every((byte) => byte === 0))
      throw new Error('padding not zero');
    at = end;
  }
  return found;
}

t.test('directory entries', async (t) => {
  const packer = new DirentPacker(out);
  const names = fc.array(fc.string({ minLength: 1, maxLength: 40 }).map((s) => Buffer.from(s).toString('latin1')));
  fc.assert(
    fc.property(names, fc.nat(4096), fc.boolean(), (list, limit, plus) => {
      out.bytes.fill(0xee);
      packer.begin(limit);
      let added = 0;
      for (const [i, name] of list.entries()) {
        const ok = plus
          ? packer.addPlus(i % 2 === 0 ? entry : null, i + 1, i + 100, DirentType.REG, name)
          : packer.add(i + 1, i + 100, DirentType.REG, name);
        if (!ok) break;
        added++;
      }
      if (packer.size > limit) throw new Error('more than asked for');
      if (!out.bytes.subarray(OUT_HEADER + limit).every((byte) => byte === 0xee)) throw new Error('wrote beyond');
      const next = list[added];
      if (next !== undefined && packer.fits(next.length, plus)) throw new Error('stopped too early');
      t.same(
        walk(packer.size, plus),
        list.slice(0, added).map((name, i) => ({
          ino: i + 1,
          off: i + 100,
          type: DirentType.REG,
          name,
          nodeid: plus && i % 2 === 0 ? 11 : 0,
        })),
      );
    }),
    { numRuns: 60 },
  );
  packer.begin(1 << 20);
  let count = 0;
  while (packer.add(1, 1, 1, 'n'.repeat(255))) count++;
  t.equal(count, Math.floor((8192 - 0) / 280), 'bounded by the reply buffer when asked for more');
});
