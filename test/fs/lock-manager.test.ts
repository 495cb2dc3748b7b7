/** Locks and delegations of clients that are far away, and what latch keeps with every lock. */
import t, { type Test } from 'tap';
import { type ClientCallbacks, LockManager, type RemoteClient } from '../../src/fs/lock-manager.js';
import { O_CREAT, O_NONBLOCK, O_RDWR } from '../../src/fs/open-flags.js';
import { LOCK_EX, LOCK_NB, LOCK_UN } from '../../src/fs/sys-fcntl.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { infoOf } from '../../src/latch/info.js';
import { errno } from '../../src/sched/errno.js';
import type { Task } from '../../src/sched/task.js';
import { newWorld, outcome, StillClock, type World } from './world.js';

const WHOLE = { type: 'F_WRLCK', start: 0, length: 0 } as const;
const NOTHING = { type: 'F_UNLCK', start: 0, length: 0 } as const;
const LEASE = 90_000;

interface Scene {
  readonly world: World;
  readonly sched: StillClock;
  readonly sys: Syscalls;
  readonly manager: LockManager;
  readonly task: Task;
  readonly ino: number;
  /** What clients were called back for. */
  readonly told: string[];
  client(name: string): RemoteClient;
}

/** With a file /f, and a server. */
async function withManager(t: Test, body: (scene: Scene) => Promise<void>): Promise<void> {
  const sched = new StillClock();
  const world = await newWorld({ sched });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
  const { ino } = await sys.stat('/f');
  const manager = new LockManager(world.sb, { lease: LEASE });
  const told: string[] = [];
  const client = (name: string): RemoteClient => {
    const callbacks: Required<ClientCallbacks> = {
      granted: () => told.push(`${name} granted`),
      notify: () => told.push(`${name} notify`),
      recall: () => told.push(`${name} recall`),
    };
    return manager.connect(callbacks);
  };
  const task = world.task();
  await body({ world, sched, sys, manager, task, ino, told, client });
  await manager.stop(task);
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
}

t.test('a lock that is not free is refused, granted later, or told of later', async (t) => {
  await withManager(t, async ({ sched, sys, task, ino, told, client }) => {
    const fd = await sys.open('/f', O_RDWR);
    await sys.fcntl_lock(fd, { l_type: 'F_WRLCK' });
    const [a, b] = [client('a'), client('b')];
    const mine = await a.open(task, ino, O_RDWR);
    const theirs = await b.open(task, ino, O_RDWR);
    t.equal(await outcome(() => a.lock(task, mine, WHOLE)), 'EAGAIN');
    t.equal(await a.lock(task, mine, WHOLE, 'grant'), 'deferred');
    t.equal(await b.lock(task, theirs, WHOLE, 'notify'), 'deferred');
    await sched.rest();
    t.same(told, []);
    await sys.fcntl_lock(fd, { l_type: 'F_UNLCK' });
    await sched.rest();
    t.same(told.sort(), ['a granted', 'b notify']);
    t.equal((await b.test(task, theirs, WHOLE))?.owner, a);
    t.equal(await outcome(() => sys.fcntl_lock(fd, { l_type: 'F_RDLCK' })), 'EAGAIN', 'for processes here as well');
    t.equal(await outcome(() => b.lock(task, theirs, WHOLE)), 'EAGAIN');
    await a.lock(task, mine, NOTHING);
    t.equal(await b.lock(task, theirs, WHOLE), 'granted');
  });
});

t.test('a request that was deferred can be given up', async (t) => {
  await withManager(t, async ({ sched, sys, task, ino, told, client }) => {
    const fd = await sys.open('/f', O_RDWR);
    await sys.fcntl_lock(fd, { l_type: 'F_WRLCK' });
    const a = client('a');
    for (const wish of ['grant', 'notify'] as const) {
      const mine = await a.open(task, ino, O_RDWR);
      await a.lock(task, mine, WHOLE, wish);
      await a.close(task, mine);
      t.equal(await outcome(() => a.lock(task, mine, WHOLE)), 'EBADF');
    }
    await sched.rest();
    await sys.fcntl_lock(fd, { l_type: 'F_UNLCK' });
    await sched.rest();
    t.same(told, []);
    t.equal(await outcome(() => sys.fcntl_lock(fd, { l_type: 'F_WRLCK' })), 'ok', 'it did not get it after all');
  });
});

t.test('a client that is gone keeps its locks until they are in the way', async (t) => {
  await withManager(t, async ({ sched, sys, task, ino, client }) => {
    const [a, b] = [client('a'), client('b')];
    const mine = await a.open(task, ino, O_RDWR);
    const fd = await sys.open('/f', O_RDWR);
    await a.lock(task, mine, WHOLE);
    await sched.advance(LEASE - 1);
    t.equal(await outcome(() => sys.fcntl_lock(fd, { l_type: 'F_WRLCK' })), 'EAGAIN');
    a.renew();
    b.renew();
    await sched.advance(LEASE);
    t.equal(a.expired, true);
    a.renew();
    t.equal(await outcome(() => sys.fcntl_lock(fd, { l_type: 'F_WRLCK' })), 'EAGAIN', 'it was heard of in time');
    await sched.advance(LEASE);
    t.equal(await outcome(() => sys.fcntl_lock(fd, { l_type: 'F_WRLCK' })), 'ok');
    t.throws(() => a.renew(), /ESTALE/, 'it has lost everything');
    t.equal(await outcome(() => a.lock(task, mine, NOTHING)), 'ESTALE');
    t.equal(await outcome(async () => b.renew()), 'ok', 'of another one nobody wanted anything');
  });
});

t.test('a delegation is recalled by others, and not broken by its own client', async (t) => {
  await withManager(t, async ({ sched, sys, task, ino, told, client }) => {
    const [a, b] = [client('a'), client('b')];
    const mine = await a.open(task, ino, 0);
    await a.delegate(task, mine, 'F_RDLCK');
    await a.close(task, await a.open(task, ino, O_RDWR));
    t.same(told, [], 'its own writing');
    t.equal(await outcome(() => b.open(task, ino, O_RDWR | O_NONBLOCK)), 'EAGAIN');
    await sched.rest();
    t.same(told, ['a recall']);
    const opening = sys.open('/f', O_RDWR);
    await sched.rest();
    await a.delegate(task, mine, 'F_UNLCK');
    await sys.close(await opening);
    await a.delegate(task, mine, 'F_RDLCK');
    await sched.advance(LEASE);
    t.equal(await outcome(() => sys.open('/f', O_RDWR | O_NONBLOCK)), 'ok', 'who is gone is not waited for');
    t.same(told, ['a recall']);
  });
});

t.test('latch: a lock keeps its inode in memory, whole or in parts', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  const inode = world.sb.inodeHash.get((await sys.stat('/f')).ino);
  const before = inode?.i_count ?? 0;
  const held = (): number => (inode?.i_count ?? 0) - before;
  await sys.fcntl_lock(fd, { l_type: 'F_WRLCK', l_start: 0, l_len: 30 });
  t.equal(held(), 1);
  await sys.fcntl_lock(fd, { l_type: 'F_UNLCK', l_start: 10, l_len: 10 });
  t.equal(held(), 2, 'one for each part');
  await sys.fcntl_lock(fd, { l_type: 'F_WRLCK', l_start: 0, l_len: 30 });
  t.equal(held(), 1, 'which are one again');
  await sys.flock(fd, LOCK_EX);
  t.equal(held(), 2);
  await sys.flock(fd, LOCK_UN);
  await sys.fcntl_lock(fd, { l_type: 'F_UNLCK' });
  t.equal(held(), 0);
  await process.exit();
  t.equal(await world.end(), 0);
});

t.test('latch: where the journal was aborted nothing is locked any more, and all can be unlocked', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
  await sys.fcntl_lock(fd, { l_type: 'F_WRLCK', l_len: 5 });
  await sys.flock(fd, LOCK_EX);
  await sys.sync();
  infoOf(world.sb).journal.abort(errno('EIO'));
  t.equal(await outcome(() => sys.fcntl_lock(fd, { l_type: 'F_RDLCK', l_start: 9 })), 'EIO');
  t.equal(await outcome(() => sys.flock(fd, LOCK_EX | LOCK_NB)), 'EIO');
  t.equal(await outcome(() => sys.fcntl_lease(fd, 'F_WRLCK')), 'EIO');
  t.equal((await sys.fcntl_testlock(fd, { l_type: 'F_WRLCK' })).l_type, 'F_UNLCK');
  t.equal(await outcome(() => sys.fcntl_lock(fd, { l_type: 'F_UNLCK' })), 'ok');
  t.equal(await outcome(() => sys.flock(fd, LOCK_UN)), 'ok');
  await process.exit();
  await world.end();
});
