import t from 'tap';
import { FATTR } from '../../../src/fuse/protocol/flags.js';
import { type Message, ProtocolError } from '../../../src/fuse/protocol/message.js';
import { Opcode } from '../../../src/fuse/protocol/opcodes.js';
import { decodeHeader, peekOpcode } from '../../../src/fuse/protocol/read.js';
import * as files from '../../../src/fuse/protocol/read-files.js';
import * as names from '../../../src/fuse/protocol/read-names.js';
import { DEFAULT_WIRE, type Wire } from '../../../src/fuse/protocol/requests.js';
import { request, strings, u32, u64 } from '../request.js';

const wire = DEFAULT_WIRE;
const MAX = Number.MAX_SAFE_INTEGER;

function fails(test: Pick<typeof t, 'ok' | 'fail'>, code: string, run: () => unknown, what: string): void {
  try {
    run();
    test.fail(`${what}: no error`);
  } catch (error) {
    test.ok(error instanceof ProtocolError && error.code === code, `${what}: ${code}`, { error });
  }
}

t.test('header', async (t) => {
  const m = request(Opcode.LOOKUP, [strings('x')], { unique: 6, nodeid: 77 });
  t.same(decodeHeader(m), { len: 42, opcode: 1, unique: 6, nodeid: 77, uid: 1000, gid: 100, pid: 4711, extlen: 0 });
  t.equal(peekOpcode(m), Opcode.LOOKUP);
  t.equal(decodeHeader(request(1, [], { unique: 2n ** 63n + 4n })).unique, 2n ** 63n + 4n, 'a resent request, exactly');
  t.equal(decodeHeader(request(1, [], { unique: 2 ** 53 - 1 })).unique, 2 ** 53 - 1);
  t.equal(decodeHeader(request(1, [], { unique: 2n ** 53n })).unique, 2n ** 53n);
  fails(t, 'EIO', () => decodeHeader(request(1, [], { nodeid: 2n ** 60n })), 'a node id never given');
  fails(t, 'EIO', () => decodeHeader(request(1, [], { len: 48 })), 'length says more');
  const short = request(1, [strings('x')]);
  short.length = 39;
  fails(t, 'EIO', () => decodeHeader(short), 'shorter than a header');
  t.equal(peekOpcode(short), 0);
});

t.test('names', async (t) => {
  t.equal(names.decodeLookup(request(1, [strings('h\xe9llo')]), wire), 'h\xe9llo', 'bytes as they are');
  t.equal(names.decodeLookup(request(1, [strings('..')]), wire), '..');
  t.equal(names.decodeLookup(request(1, [strings('n'.repeat(255))]), wire).length, 255);
  fails(t, 'ENAMETOOLONG', () => names.decodeLookup(request(1, [strings('n'.repeat(256))]), wire), '256 bytes');
  fails(t, 'EINVAL', () => names.decodeLookup(request(1, [Buffer.from('abc')]), wire), 'no terminator');
  fails(t, 'EINVAL', () => names.decodeLookup(request(1, [strings('')]), wire), 'empty');
  fails(t, 'EINVAL', () => names.decodeLookup(request(1, []), wire), 'no name at all');
  fails(t, 'EINVAL', () => names.decodeLookup(request(1, [strings('a/b')]), wire), 'slash');
  for (const name of ['.', '..']) {
    fails(t, 'EINVAL', () => names.decodeName(request(Opcode.UNLINK, [strings(name)]), wire), `unlink ${name}`);
  }
  t.equal(names.decodeName(request(Opcode.UNLINK, [strings('..a')]), wire).name, '..a');
  t.equal(names.decodeName(request(Opcode.UNLINK, [strings('...')]), wire).name, '...');
  t.equal(names.decodeName(request(Opcode.UNLINK, [strings('.a')]), wire).name, '.a');
  t.same(names.decodeRename(request(Opcode.RENAME, [u64(9), strings('a', 'b')]), wire), {
    name: 'a',
    newdir: 9,
    newname: 'b',
    flags: 0,
  });
  t.same(names.decodeRename2(request(Opcode.RENAME2, [u64(9), u32(2, 0), strings('a', 'b')]), wire), {
    name: 'a',
    newdir: 9,
    newname: 'b',
    flags: 2,
  });
  fails(t, 'EINVAL', () => names.decodeRename(request(12, [u64(9), strings('a')]), wire), 'second name missing');
  t.same(names.decodeLink(request(Opcode.LINK, [u64(5), strings('l')]), wire), { oldnodeid: 5, name: 'l' });
});

t.test('creations and their extensions', async (t) => {
  const none = { secctx: [], groups: [] };
  t.same(names.decodeMkdir(request(Opcode.MKDIR, [u32(0o755, 0o22), strings('d')]), wire), {
    name: 'd',
    mode: 0o755,
    umask: 0o22,
    ...none,
  });
  t.same(names.decodeMknod(request(Opcode.MKNOD, [u32(0o20600, 0x501, 0o22, 0), strings('n')]), wire), {
    name: 'n',
    mode: 0o20600,
    rdev: 0x501,
    umask: 0o22,
    ...none,
  });
  t.same(names.decodeSymlink(request(Opcode.SYMLINK, [strings('l', '../a/b')]), wire), {
    name: 'l',
    target: '../a/b',
    ...none,
  });
  fails(t, 'ENAMETOOLONG', () => names.decodeSymlink(request(6, [strings('l', 'x'.repeat(4096))]), wire), 'target');
  t.equal(names.decodeTmpfile(request(Opcode.TMPFILE, [u32(2, 0o600, 0, 0), strings('/')]), wire).name, '');

  const secctx = Buffer.concat([u32(5, 0), strings('security.selinux'), Buffer.from('label')]);
  const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
  const contexts = padded(Buffer.concat([u32((8 + secctx.length + 7) & ~7, 1), secctx]));
  const groups = Buffer.concat([u32(16, 32), u32(1, 50)]);
  const create = [u32(0o1102, 0o644, 0o22, 1), strings('file')];
  const decoded = names.decodeCreate(request(35, create, { extensions: Buffer.concat([contexts, groups]) }), wire);
  t.same(decoded, {
    name: 'file',
    flags: 0o1102,
    mode: 0o644,
    umask: 0o22,
    open_flags: 1,
    secctx: [{ name: 'security.selinux', context: Buffer.from('label') }],
    groups: [50],
  });
  const before738 = names.decodeCreate(request(35, [...create, contexts]), wire);
  t.same(before738.secctx, decoded.secctx, 'a kernel before 7.38 does not say where the contexts start');
  for (const [what, bad] of [
    ['size beyond the message', Buffer.concat([u32(64, 1), u32(0, 0)])],
    ['size below its header', Buffer.concat([u32(4, 1), u32(0, 0)])],
    ['more contexts than there are', Buffer.concat([u32(16, 9), u32(0, 0)])],
    ['context longer than the extension', Buffer.concat([u32(24, 1), u32(99, 0), strings('abc', 'abc')])],
    ['more groups than there are', Buffer.concat([u32(16, 32), u32(2, 50)])],
  ] as const) {
    fails(t, 'EINVAL', () => names.decodeCreate(request(35, create, { extensions: bad }), wire), what);
  }
  t.same(
    names.decodeCreate(request(35, create, { extensions: Buffer.concat([u32(16, 99), u64(1)]) }), wire).groups,
    [],
    'an unknown extension is skipped',
  );
});

t.test('extended attributes', async (t) => {
  const m = request(Opcode.SETXATTR, [u32(3, 1, 1, 0), strings('user.a'), Buffer.from('xyz')]);
  t.same(names.decodeSetxattr(m, wire), { name: 'user.a', value: Buffer.from('xyz'), flags: 1, setxattr_flags: 1 });
  const short: Wire = { ...wire, setxattrExt: false };
  const old = request(Opcode.SETXATTR, [u32(3, 2), strings('user.a'), Buffer.from('xyz')]);
  t.same(names.decodeSetxattr(old, short), { name: 'user.a', value: Buffer.from('xyz'), flags: 2, setxattr_flags: 0 });
  const lying = request(Opcode.SETXATTR, [u32(4, 0, 0, 0), strings('user.a'), Buffer.from('xyz')]);
  fails(t, 'EINVAL', () => names.decodeSetxattr(lying, wire), 'value shorter than its size');
  t.same(names.decodeGetxattr(request(22, [u32(100, 0), strings('user.a')])), { name: 'user.a', size: 100 });
  t.same(names.decodeListxattr(request(23, [u32(100, 0)])), { name: '', size: 100 });
  fails(t, 'ERANGE', () => names.decodeRemovexattr(request(24, [strings('')])), 'empty name');
  fails(t, 'ERANGE', () => names.decodeRemovexattr(request(24, [strings('x'.repeat(256))])), 'long name');
});

t.test('files', async (t) => {
  const owner = 0xfedcba9876543210n;
  const read = request(Opcode.READ, [u64(3, 4096), u32(8192, 2), u64(owner), u32(0o40000, 0)]);
  t.same(files.decodeRead(read), { fh: 3, offset: 4096, size: 8192, read_flags: 2, flags: 0o40000 });
  t.equal(files.readLockOwner(read), owner);
  t.equal(files.readLockOwner(request(15, [u64(3, 0), u32(1, 1), u64(owner), u32(0, 0)])), 0, 'not said to be valid');
  const write = request(Opcode.WRITE, [u64(3, 2n ** 62n), u32(4, 0), u64(0), u32(1, 0), Buffer.from('data')]);
  const { start, size, offset, message } = files.decodeWrite(write);
  t.equal(message.bytes.toString('latin1', start, start + size), 'data');
  t.equal(offset, MAX, 'no file reaches so far');
  const lying = request(Opcode.WRITE, [u64(3, 0), u32(5, 0), u64(0), u32(1, 0), Buffer.from('data')]);
  fails(t, 'EINVAL', () => files.decodeWrite(lying), 'less data than said');
  fails(t, 'EINVAL', () => files.decodeRead(request(15, [u64(3, -1), u32(1, 0), u64(0), u32(0, 0)])), 'negative');
  t.same(files.decodeGetattr(request(3, [u32(1, 0), u64(9)])), { getattr_flags: 1, fh: 9 });
  const valid = FATTR.SIZE | FATTR.MTIME;
  const setattr = [u32(valid, 0), u64(2n ** 63n, 10, 0, 1, -2, 3), u32(4, 5, 6, 0o644, 0, 7, 8, 0)];
  t.same(files.decodeSetattr(request(4, setattr)), {
    valid,
    fh: 0,
    size: 10,
    lock_owner: 0,
    atime: { sec: 1, nsec: 4 },
    mtime: { sec: -2, nsec: 5 },
    ctime: { sec: 3, nsec: 6 },
    mode: 0o644,
    uid: 7,
    gid: 8,
  });
  const flock = request(33, [u64(3, owner, 0, 2n ** 63n - 1n), u32(1, 42, 1, 0)]);
  t.same(files.decodeLk(flock), { fh: 3, owner, start: 0, end: MAX, type: 1, pid: 42, lk_flags: 1 });
  fails(t, 'EINVAL', () => files.decodeLk(request(33, [u64(3, 0, 9, 8), u32(1, 42, 0, 0)])), 'range backwards');
  t.same(files.decodeBatchForget(request(42, [u32(2, 0), u64(5, 1, 6, 2)])).forgets, [
    { nodeid: 5, nlookup: 1 },
    { nodeid: 6, nlookup: 2 },
  ]);
  fails(t, 'EINVAL', () => files.decodeBatchForget(request(42, [u32(0xffffffff, 0), u64(5, 1)])), 'lying count');
  t.equal(files.decodeLseek(request(46, [u64(1, -5), u32(3, 0)])).offset, -5);
  t.same(files.decodeCopyFileRange(request(53, [u64(1, 2, 3, 4, 5, 2n ** 63n - 4096n, 0)])), {
    fh_in: 1,
    off_in: 2,
    nodeid_out: 3,
    fh_out: 4,
    off_out: 5,
    len: MAX,
    flags: 0,
  });
  t.same(files.decodeRemovemapping(request(49, [u32(1), u64(4096, 8192)])).ranges, [{ moffset: 4096, len: 8192 }]);
  t.same(files.decodeIoctl(request(39, [u64(1), u32(0, 0x1234), u64(7), u32(2, 0), Buffer.from('ab')])), {
    fh: 1,
    flags: 0,
    cmd: 0x1234,
    arg: 7,
    data: Buffer.from('ab'),
    out_size: 0,
  });
  t.same(files.decodeInit(request(26, [u32(7, 31, 4096, 1)])), {
    major: 7,
    minor: 31,
    max_readahead: 4096,
    flags: 1,
    flags2: 0,
  });
  t.same(files.decodeStatx(request(52, [u32(1, 0), u64(2), u32(3, 4)])), {
    getattr_flags: 1,
    fh: 2,
    sx_flags: 3,
    sx_mask: 4,
  });
});

t.test('a fixed body one byte short', async (t) => {
  const sizes: [string, number, (m: Message) => unknown][] = [
    ['read', 40, files.decodeRead],
    ['write', 40, files.decodeWrite],
    ['getattr', 16, files.decodeGetattr],
    ['setattr', 88, files.decodeSetattr],
    ['forget', 8, files.decodeForget],
    ['open', 8, files.decodeOpen],
    ['release', 24, files.decodeRelease],
    ['flush', 24, files.decodeFlush],
    ['fsync', 16, files.decodeFsync],
    ['lk', 48, files.decodeLk],
    ['access', 8, files.decodeAccess],
    ['interrupt', 8, files.decodeInterrupt],
    ['bmap', 16, files.decodeBmap],
    ['poll', 24, files.decodePoll],
    ['notify reply', 40, files.decodeNotifyReply],
    ['fallocate', 32, files.decodeFallocate],
    ['lseek', 24, files.decodeLseek],
    ['copy', 56, files.decodeCopyFileRange],
    ['setupmapping', 40, files.decodeSetupmapping],
    ['statx', 24, files.decodeStatx],
  ];
  for (const [name, size, decode] of sizes) {
    fails(t, 'EIO', () => decode(request(1, [Buffer.alloc(size - 1)])), name);
    t.ok(decode(request(1, [Buffer.alloc(size)])), `${name}: whole`);
  }
});
