import t from 'tap';
import { negotiate } from '../../src/fuse/init.js';
import { INIT, INIT2 } from '../../src/fuse/protocol/flags.js';

const ALL = 0x7fffffff;
const kernel = { major: 7, minor: 45, max_readahead: 131072, flags: ALL, flags2: 0xff };

function ready(answer: ReturnType<typeof negotiate>) {
  if (answer.kind !== 'ready') throw new Error(answer.kind);
  return answer;
}

t.test('versions', async (t) => {
  for (const [minor, ours] of [
    [31, 31],
    [38, 38],
    [45, 45],
    [60, 45],
  ] as const) {
    const { reply, negotiated } = ready(negotiate({ ...kernel, minor }, { flags: 0, flags2: 0 }));
    t.equal(reply.major, 7);
    t.equal(reply.minor, ours, `kernel 7.${minor}`);
    t.equal(negotiated.minor, ours);
  }
  for (const old of [
    { ...kernel, minor: 30 },
    { ...kernel, major: 6 },
  ]) {
    const answer = negotiate(old, { flags: 0, flags2: 0 });
    t.equal(answer.kind, 'refuse');
    t.match(answer, { reason: /^the kernel speaks FUSE \d\.\d+, but 7\.31/ });
  }
  const newer = negotiate({ ...kernel, major: 8, minor: 0 }, { flags: 0, flags2: 0 });
  t.match(newer, { kind: 'again', reply: { major: 7, minor: 45 } });
});

t.test('flags', async (t) => {
  const wishes = { flags: INIT.SETXATTR_EXT | INIT.POSIX_LOCKS, flags2: INIT2.CREATE_SUPP_GROUP | INIT2.PASSTHROUGH };
  const { reply, negotiated } = ready(negotiate(kernel, wishes));
  t.equal(reply.flags, INIT.SETXATTR_EXT | INIT.POSIX_LOCKS | INIT.BIG_WRITES | INIT.MAX_PAGES | INIT.INIT_EXT);
  t.equal(reply.flags2, wishes.flags2);
  t.ok(negotiated.setxattrExt && negotiated.extensions);
  const old = ready(negotiate({ ...kernel, flags: INIT.POSIX_LOCKS, flags2: 0xff }, wishes));
  t.equal(old.reply.flags, INIT.POSIX_LOCKS, 'only what the kernel offers');
  t.equal(old.reply.flags2, 0, 'flags2 means nothing without INIT_EXT');
  t.notOk(old.negotiated.setxattrExt || old.negotiated.extensions);
  t.notOk(negotiated.mapped);
  const mapping = { ...kernel, flags2: 0x1ff };
  t.ok(ready(negotiate(mapping, { flags: 0, flags2: INIT2.ALLOW_IDMAP })).negotiated.mapped);
  t.notOk(ready(negotiate(mapping, { flags: 0, flags2: 0 })).negotiated.mapped, 'only where it is wanted');
});

t.test('sizes', async (t) => {
  const { reply, negotiated } = ready(negotiate(kernel, { flags: 0, flags2: 0 }));
  t.match(reply, { max_write: 1 << 20, max_pages: 256, time_gran: 1, max_background: 64, congestion_threshold: 48 });
  t.equal(negotiated.maxWrite, 1 << 20);
  t.equal(reply.max_readahead, 131072);
  const small = ready(negotiate({ ...kernel, flags: 0 }, { flags: 0, flags2: 0 }));
  t.match(small.reply, { max_write: 128 * 1024, max_pages: 0 }, 'without MAX_PAGES');
  t.equal(ready(negotiate(kernel, { flags: 0, flags2: 0, maxWrite: 5000 })).reply.max_write, 8192, 'whole pages');
});

t.test('OPEN is not refused while the kernel leaves truncation to it', async (t) => {
  const wishes = { flags: INIT.ATOMIC_O_TRUNC, flags2: 0 };
  const plain = ready(negotiate(kernel, wishes));
  t.ok(plain.reply.flags & INIT.ATOMIC_O_TRUNC);
  t.notOk(plain.negotiated.mayRefuseOpen);
  const noOpen = ready(negotiate(kernel, { ...wishes, noOpen: true }));
  t.notOk(noOpen.reply.flags & INIT.ATOMIC_O_TRUNC);
  t.ok(noOpen.negotiated.mayRefuseOpen);
  const cannot = ready(negotiate({ ...kernel, flags: INIT.ATOMIC_O_TRUNC }, { ...wishes, noOpen: true }));
  t.notOk(cannot.negotiated.mayRefuseOpen, 'the kernel does not know of it');
});
