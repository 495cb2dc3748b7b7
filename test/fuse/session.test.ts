// The live session, fed by hand: what a kernel would send, what it never would, and everything in between.

import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { HANDLERS, UNANSWERED } from '../../src/fuse/ops/table.js';
import { LockType } from '../../src/fuse/protocol/flags.js';
import { Message } from '../../src/fuse/protocol/message.js';
import { Opcode } from '../../src/fuse/protocol/opcodes.js';
import { ERRNO, errno } from '../../src/sched/errno.js';
import { WaitQueue } from '../../src/sched/wait.js';
import { FakeKernel } from './fake-session.js';
import { type Piece, request, strings, u32, u64 } from './request.js';

const { EIO, EINVAL, ENOSYS, ESTALE, EBADF, EINTR, ENAMETOOLONG } = ERRNO;
const ROOT = 1;

/** Boot, run `body`, unmount; then there must be no violation, no bug in the log, nothing unanswered. */
async function withKernel(
  test: Test,
  body: (kernel: FakeKernel) => Promise<void>,
  cache: 'none' | 'auto' = 'none',
): Promise<void> {
  const kernel = await FakeKernel.boot(cache);
  await body(kernel);
  test.equal(kernel.transport.waiting.size, 0, 'everything was answered');
  test.same(kernel.transport.stray, [], 'and nothing twice');
  await kernel.end();
  test.same(
    kernel.violations.map(({ message }) => message),
    [],
    'no rule was broken',
  );
  test.same(kernel.errors, [], 'and nothing failed');
}

async function created(kernel: FakeKernel, name: string): Promise<{ nodeid: number; fh: number }> {
  const { error, body } = await kernel.send(Opcode.CREATE, [u32(2, 0o644, 0, 0), strings(name)]);
  if (error !== 0) throw new Error(`create: errno ${error}`);
  return { nodeid: Number(body.readBigUInt64LE(0)), fh: Number(body.readBigUInt64LE(128)) };
}

const write = (fh: number, offset: number, data: Buffer): Piece[] => [
  u64(fh, offset),
  u32(data.length, 0),
  u64(0),
  u32(2, 0),
  data,
];
const read = (fh: number, offset: number, size: number): Piece[] => [u64(fh, offset), u32(size, 0), u64(0), u32(0, 0)];
const lock = (fh: number, owner: number, type: number): Piece[] => [u64(fh, owner, 0, 99), u32(type, 1, 0, 0)];

t.test('syncfs is told once of an error of writing back', async (t) => {
  await withKernel(t, async (kernel) => {
    kernel.sb.s_wb_err.set(errno('ENOSPC'));
    t.equal((await kernel.send(Opcode.SYNCFS, [u64(0)])).error, ERRNO.ENOSPC);
    t.equal((await kernel.send(Opcode.SYNCFS, [u64(0)])).error, 0);
  });
});

t.test('a file is made, written, read, removed', async (t) => {
  await withKernel(t, async (kernel) => {
    const { nodeid, fh } = await created(kernel, 'a');
    const written = await kernel.send(Opcode.WRITE, write(fh, 0, Buffer.from('hello')), { nodeid });
    t.equal(written.body.readUInt32LE(0), 5);
    t.equal((await kernel.send(Opcode.READ, read(fh, 1, 100), { nodeid })).body.toString(), 'ello');
    t.equal((await kernel.send(Opcode.UNLINK, [strings('a')])).error, 0);
    t.equal((await kernel.send(Opcode.READ, read(fh, 0, 2), { nodeid })).body.toString(), 'he');
    t.equal((await kernel.send(Opcode.RELEASE, [u64(fh), u32(0, 0), u64(0)], { nodeid })).error, 0);
    await kernel.send(Opcode.FORGET, [u64(1)], { nodeid });
    t.equal((await kernel.send(Opcode.GETATTR, [u32(0, 0), u64(0)], { nodeid })).error, ESTALE);
  });
});

t.test('a directory that was listed without having been opened goes when it is forgotten', async (t) => {
  await withKernel(
    t,
    async (kernel) => {
      const made = await kernel.send(Opcode.MKDIR, [u32(0o755, 0), strings('d')]);
      const nodeid = Number(made.body.readBigUInt64LE(0));
      t.equal((await kernel.send(Opcode.READDIR, read(0, 0, 4096), { nodeid })).error, 0);
      t.equal((await kernel.send(Opcode.RMDIR, [strings('d')])).error, 0);
      t.equal((await kernel.send(Opcode.GETATTR, [u32(0, 0), u64(0)], { nodeid })).error, 0);
      await kernel.send(Opcode.FORGET, [u64(1)], { nodeid });
      // FORGET has no answer that says when it is done.
      await setImmediate();
      t.equal((await kernel.send(Opcode.GETATTR, [u32(0, 0), u64(0)], { nodeid })).error, ESTALE);
    },
    'auto',
  );
});

t.test('what is malformed is refused by the right number', async (t) => {
  await withKernel(t, async (kernel) => {
    const { nodeid, fh } = await created(kernel, 'f');
    const refused = async (
      what: string,
      errno: number,
      opcode: number,
      body: Piece[],
      fields: Parameters<typeof request>[2] = {},
    ): Promise<void> => {
      t.equal((await kernel.send(opcode, body, fields)).error, errno, what);
    };
    await refused('an opcode of no protocol', ENOSYS, 1000, []);
    await refused('an opcode never given out', ENOSYS, 7, [u64(0)]);
    await refused('a body too short', EIO, Opcode.READ, [u64(fh)], { nodeid });
    await refused('a length that is not the message', EIO, Opcode.GETATTR, [u32(0, 0), u64(0)], { len: 4000 });
    await refused('a length below the header', EIO, Opcode.GETATTR, [u32(0, 0), u64(0)], { len: 3 });
    await refused('more data promised than sent', EINVAL, Opcode.WRITE, [u64(fh, 0), u32(4096, 0), u64(0), u32(2, 0)], {
      nodeid,
    });
    await refused("a name with '/'", EINVAL, Opcode.MKDIR, [u32(0o755, 0), strings('a/b')]);
    await refused('an empty name', EINVAL, Opcode.MKDIR, [u32(0o755, 0), strings('')]);
    await refused('a name without its end', EINVAL, Opcode.LOOKUP, [Buffer.from('abcdefgh')]);
    await refused('a name too long', ENAMETOOLONG, Opcode.LOOKUP, [strings('n'.repeat(256))]);
    await refused("'..' to be made", EINVAL, Opcode.MKDIR, [u32(0o755, 0), strings('..')]);
    await refused('a second name missing', EINVAL, Opcode.RENAME, [u64(ROOT), strings('a')]);
    await refused('a node never given out', ESTALE, Opcode.GETATTR, [u32(0, 0), u64(0)], { nodeid: 123456 });
    await refused('a node beyond 2^53', EIO, Opcode.GETATTR, [u32(0, 0), u64(0)], { nodeid: 1n << 63n });
    await refused('node 0', ESTALE, Opcode.GETATTR, [u32(0, 0), u64(0)], { nodeid: 0 });
    await refused('a handle never given out', EBADF, Opcode.READ, read(77, 0, 10), { nodeid });
    await refused('no handle', EBADF, Opcode.READ, read(0, 0, 10), { nodeid });
    await refused('a negative offset', EINVAL, Opcode.READ, [u64(fh, -1n), u32(10, 0), u64(0), u32(0, 0)], { nodeid });
    await refused('a lock type that is none', EINVAL, Opcode.SETLK, lock(fh, 1, 9), { nodeid });
    await refused('a rename with unknown flags', EINVAL, Opcode.RENAME2, [u64(ROOT), u32(0x80, 0), strings('f', 'g')]);
    await refused('the mode of an unknown type', EINVAL, Opcode.MKNOD, [u32(0o170644, 0, 0, 0), strings('x')]);
    t.equal((await kernel.send(Opcode.RELEASE, [u64(fh), u32(0, 0), u64(0)], { nodeid })).error, 0);
    await refused('a handle that is closed', EBADF, Opcode.READ, read(fh, 0, 10), { nodeid });
    await refused('closed twice', EBADF, Opcode.RELEASE, [u64(fh), u32(0, 0), u64(0)], { nodeid });
    await kernel.deliver(Message.from(Buffer.alloc(3)));
    await kernel.send(Opcode.FORGET, []);
    await kernel.send(Opcode.BATCH_FORGET, [u32(1000, 0)]);
    await kernel.send(Opcode.FORGET, [u64(5)], { nodeid: 99999 });
    await kernel.send(Opcode.INTERRUPT, []);
    await kernel.send(Opcode.NOTIFY_REPLY, [Buffer.alloc(40)]);
    t.equal((await kernel.send(Opcode.GETATTR, [u32(0, 0), u64(0)])).error, 0, 'and life goes on');
  });
});

t.test('every opcode of the protocol has a handler or a reason', (t) => {
  const session = [Opcode.INIT, Opcode.DESTROY, Opcode.INTERRUPT] as number[];
  for (const [name, opcode] of Object.entries(Opcode)) {
    const answered = HANDLERS[opcode] !== undefined || session.includes(opcode);
    t.ok(answered !== (UNANSWERED[opcode] !== undefined), name);
  }
  t.end();
});

t.test('the end of a session interrupts who waits, and answers DESTROY last', async (t) => {
  const kernel = await FakeKernel.boot();
  const { nodeid, fh } = await created(kernel, 'l');
  t.equal((await kernel.send(Opcode.SETLK, lock(fh, 1, LockType.WRLCK), { nodeid })).error, 0);
  const blocked = kernel.start(Opcode.SETLKW, lock(fh, 2, LockType.WRLCK), { nodeid });
  let destroyed = false;
  const destroy = kernel.send(Opcode.DESTROY, []).then(() => {
    destroyed = true;
  });
  await kernel.end();
  t.equal((await blocked.reply).error, EINTR);
  t.notOk(destroyed, 'the filesystem is unmounted before');
  kernel.session.farewell();
  await destroy;
  t.same(kernel.errors, []);
  t.same(kernel.violations, []);
});

t.test('at the end all who wait are interrupted before any is waited for', async (t) => {
  const kernel = await FakeKernel.boot();
  const { nodeid } = await created(kernel, 'l');
  const inode = kernel.session.sb.inodeHash.get(nodeid);
  if (inode === undefined) throw new Error('the file is not in memory');
  const { i_rwsem } = inode;
  const locked = new WaitQueue();
  const never = new WaitQueue();
  const { i_fop } = inode;
  inode.i_fop = {
    ...i_fop,
    // The one that comes first waits for the lock of the other, and no signal ends that.
    fsync: async (task, ...args) => {
      await locked.wait(task, { what: 'the other' });
      (await i_rwsem.write(task)).release();
      await i_fop.fsync?.(task, ...args);
    },
    fallocate: async (task) => {
      using _held = await i_rwsem.write(task);
      locked.wake_all();
      await never.wait(task, { what: 'a signal', interruptible: true });
    },
  };
  const opened = await kernel.send(Opcode.OPEN, [u32(2, 0)], { nodeid });
  const fh = Number(opened.body.readBigUInt64LE(0));
  const first = kernel.start(Opcode.FSYNC, [u64(fh), u32(0, 0)], { nodeid });
  const second = kernel.start(Opcode.FALLOCATE, [u64(fh, 0, 4096), u32(0, 0)], { nodeid });
  await setImmediate();
  t.equal(kernel.transport.waiting.size, 2, 'both wait');
  let ended = false;
  const ending = kernel.end().then(() => {
    ended = true;
  });
  for (let turn = 0; turn < 100 && !ended; turn++) await setImmediate();
  t.ok(ended, 'the end comes');
  if (!ended) never.wake_all();
  await ending;
  t.equal((await second.reply).error, EINTR);
  t.equal((await first.reply).error, 0);
  t.same(kernel.errors, []);
  t.same(kernel.violations, []);
});

t.test('a blocked lock is interrupted, also by one that comes early or late', async (t) => {
  await withKernel(t, async (kernel) => {
    const { nodeid, fh } = await created(kernel, 'l');
    t.equal((await kernel.send(Opcode.SETLK, lock(fh, 1, LockType.WRLCK), { nodeid })).error, 0);
    await kernel.interrupt(999_998);
    const blocked = kernel.start(Opcode.SETLKW, lock(fh, 2, LockType.WRLCK), { nodeid });
    t.equal(kernel.transport.waiting.size, 1, 'it waits');
    await kernel.interrupt(blocked.unique);
    t.equal((await blocked.reply).error, EINTR);
    await kernel.interrupt(blocked.unique);
    const granted = kernel.start(Opcode.SETLKW, lock(fh, 2, LockType.WRLCK), { nodeid });
    t.equal((await kernel.send(Opcode.SETLK, lock(fh, 1, LockType.UNLCK), { nodeid })).error, 0);
    t.equal((await granted.reply).error, 0, 'and granted when the other lets go');
    t.equal((await kernel.send(Opcode.FLUSH, [u64(fh), u32(0, 0), u64(2)], { nodeid })).error, 0);
    t.equal((await kernel.send(Opcode.RELEASE, [u64(fh), u32(0, 0), u64(0)], { nodeid })).error, 0);
    kernel.transport.stray.length = 0; // "ask again" to interrupts whose request is not there
  });
});

t.test('random messages', async (t) => {
  const extremes = [0, 1, 2, 3, 4, 7, 8, 255, 256, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff];
  const word = fc.oneof(fc.constantFrom(...extremes), fc.nat(40));
  const name = fc.constantFrom(
    'a\0',
    'b\0',
    'd\0',
    'a\0b\0',
    '..\0',
    '.\0',
    '/\0',
    '\0',
    'user.x\0',
    'x',
    'é\0',
    `${'n'.repeat(255)}\0`,
  );
  const opcodes = Object.values(Opcode).filter(
    (code) => code !== Opcode.INIT && code !== Opcode.DESTROY && code !== Opcode.SETLKW,
  );
  const message = fc.record({
    opcode: fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...opcodes) }, { weight: 1, arbitrary: word }),
    nodeid: fc.oneof(
      { weight: 3, arbitrary: fc.constant(ROOT) },
      { weight: 3, arbitrary: fc.integer({ min: 2, max: 20 }) },
      { weight: 1, arbitrary: word },
    ),
    words: fc.array(word, { maxLength: 24 }),
    names: fc.array(name, { maxLength: 2 }),
    cut: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(60) }),
    lie: fc.option(word, { freq: 10 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 40 }), async (messages) => {
      const kernel = await FakeKernel.boot();
      await created(kernel, 'a');
      await kernel.send(Opcode.MKDIR, [u32(0o755, 0), strings('d')]);
      let unique = 1 << 20;
      for (const { opcode, nodeid, words, names, cut, lie } of messages) {
        unique += 2;
        const body = [u32(...words), ...names.map((text) => Buffer.from(text, 'latin1'))];
        const whole = request(opcode, body, { unique, nodeid, ...(lie === null ? {} : { len: lie }) });
        const given = Message.from(whole.bytes.subarray(0, Math.max(16, whole.length - cut)));
        if (lie === null && cut > 0) given.u32[0] = given.length;
        if (opcode === Opcode.INIT || opcode === Opcode.DESTROY || opcode === Opcode.SETLKW) continue;
        await kernel.deliver(given);
      }
      if (kernel.transport.waiting.size > 0) throw new Error('a request was not answered');
      if (kernel.violations.length > 0) throw new Error(kernel.violations[0]?.message);
      if (kernel.errors.length > 0)
        throw new Error(`a bug: ${JSON.stringify(kernel.errors[0], (_, v) => (v instanceof Error ? v.stack : v))}`);
      const { error } = await kernel.send(Opcode.GETATTR, [u32(0, 0), u64(0)]);
      if (error !== 0) throw new Error(`the root does not answer: errno ${error}`);
      await kernel.end();
      if (kernel.violations.length > 0) throw new Error(kernel.violations[0]?.message);
      if (kernel.errors.length > 0) throw new Error(`a bug at the end: ${JSON.stringify(kernel.errors[0])}`);
    }),
    { numRuns: Number(process.env['FUZZ_RUNS'] ?? 60) },
  );
  t.pass();
});
