/** Locks and delegations of clients that are far away, and what latch keeps with every lock. */

import t, { type Test } from 'tap';
import type { Inode } from '../../../src/fs/inode.js';
import { LockManager } from '../../../src/fs/locks/lock-manager.js';
import type { ClientCallbacks, RemoteClient } from '../../../src/fs/locks/remote-client.js';
import { Process, type Syscalls, syscalls } from '../../../src/fs/syscalls.js';
import { infoOf } from '../../../src/latch/info.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { WaitQueue, wait_event } from '../../../src/sched/wait.js';
import { LOCK_EX, LOCK_NB, LOCK_UN, O_CREAT, O_NONBLOCK, O_RDWR, O_WRONLY } from '../../../src/uapi/fcntl.js';
import { newWorld, outcome, StillClock, type World } from '../world.js';

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
  readonly log: string[];
  client(name: string): RemoteClient;
}

/** With a file /f, and a server. */
async function withManager(t: Test, body: (scene: Scene) => Promise<void>): Promise<void> {
  const sched = new StillClock();
  const log: string[] = [];
  const world = await newWorld({ sched, printk: (line) => log.push(line) });
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
  await body({ world, sched, sys, manager, task, ino, told, log, client });
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
    t.same(told, ['a granted'], 'who waits behind another waits for that now');
    t.equal((await b.test(task, theirs, WHOLE))?.owner, a);
    t.equal(await outcome(() => sys.fcntl_lock(fd, { l_type: 'F_RDLCK' })), 'EAGAIN', 'for processes here as well');
    t.equal(await outcome(() => b.lock(task, theirs, WHOLE)), 'EAGAIN');
    await a.lock(task, mine, NOTHING);
    await sched.rest();
    t.same(told, ['a granted', 'b notify']);
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

/** A door that files of an inode which are opened from now on pass through, to be opened and to be locked. It is open at first. */
class Door {
  readonly #queue = new WaitQueue();
  #open = true;

  constructor(inode: Inode | undefined) {
    if (inode === undefined) throw new Error('not in memory');
    const { i_fop: fop } = inode;
    const pass = (task: Task): Promise<void> => wait_event(task, this.#queue, () => this.#open);
    inode.i_fop = {
      ...fop,
      lock: async (task, file, cmd, lock) => {
        await pass(task);
        return fop.lock?.(task, file, cmd, lock);
      },
      open: async (task, of, file) => {
        await pass(task);
        await fop.open?.(task, of, file);
      },
    };
  }

  shut(): void {
    this.#open = false;
  }

  open(): void {
    this.#open = true;
    this.#queue.wake_all();
  }
}

t.test('who asks for a lock is not told of one whose holder is gone', async (t) => {
  await withManager(t, async ({ sched, sys, task, ino, client }) => {
    const a = client('a');
    const mine = await a.open(task, ino, O_RDWR);
    await a.lock(task, mine, WHOLE);
    const fd = await sys.open('/f', O_RDWR);
    t.equal((await sys.fcntl_testlock(fd, { l_type: 'F_WRLCK' })).l_type, 'F_WRLCK');
    await sched.advance(LEASE);
    t.equal((await sys.fcntl_testlock(fd, { l_type: 'F_WRLCK' })).l_type, 'F_UNLCK');
    t.throws(() => a.renew(), /ESTALE/, 'it was taken from it');
  });
});

t.test('a client that is heard of before it is dropped keeps what it has', async (t) => {
  await withManager(t, async ({ sched, task, ino, manager, client }) => {
    const a = client('a');
    const mine = await a.open(task, ino, O_RDWR);
    await a.lock(task, mine, WHOLE);
    await sched.advance(LEASE);
    t.equal(manager.condemn(a), true);
    a.renew();
    await manager.expire(task);
    t.equal(await outcome(() => a.lock(task, mine, WHOLE)), 'ok');
  });
});

t.test('what comes to a client that was dropped meanwhile is given back', async (t) => {
  await withManager(t, async ({ world, sched, sys, task, ino, client }) => {
    const fd = await sys.open('/f', O_RDWR);
    const door = new Door(world.sb.inodeHash.get(ino));
    for (const how of ['close', 'destroy'] as const) {
      const a = client('a');
      const mine = await a.open(task, ino, O_RDWR);
      door.shut();
      const locking = outcome(() => a.lock(world.task(), mine, WHOLE));
      await sched.rest();
      const ending = how === 'close' ? a.close(task, mine) : a.destroy(task);
      await sched.rest();
      door.open();
      await ending;
      t.equal(await locking, how === 'close' ? 'EBADF' : 'ESTALE');
      t.equal(await outcome(() => sys.fcntl_lock(fd, { l_type: 'F_WRLCK' })), 'ok', `after ${how}`);
      await sys.fcntl_lock(fd, { l_type: 'F_UNLCK' });
    }
    const a = client('a');
    door.shut();
    const opening = outcome(() => a.open(world.task(), ino, O_RDWR));
    await sched.rest();
    await a.destroy(task);
    door.open();
    t.equal(await opening, 'ESTALE', 'it has no open file, either');
  });
});

t.test('all who want what a client had that is gone wait for the one end of it', async (t) => {
  await withManager(t, async ({ world, sched, task, ino, client }) => {
    const [a, b, c] = [client('a'), client('b'), client('c')];
    const [ofB, ofC] = [await b.open(task, ino, O_RDWR), await c.open(task, ino, O_RDWR)];
    const door = new Door(world.sb.inodeHash.get(ino));
    await a.lock(task, await a.open(task, ino, O_RDWR), WHOLE);
    await sched.advance(LEASE);
    for (const other of [b, c]) other.renew();
    door.shut();
    const ends: string[] = [];
    const note = (name: string, body: () => Promise<unknown>): Promise<number> =>
      outcome(body).then((how) => ends.push(`${name} ${how}`));
    const all = [
      note('b', () => b.lock(world.task(), ofB, WHOLE)),
      note('c', () => c.lock(world.task(), ofC, WHOLE)),
      note('destroy', () => a.destroy(world.task())),
    ];
    await sched.rest();
    t.same(ends, []);
    door.open();
    await Promise.all(all);
    t.same(ends.sort(), ['b ok', 'c EAGAIN', 'destroy ok']);
  });
});

t.test('a client that cannot be called back does not keep the others from it', async (t) => {
  await withManager(t, async ({ sched, sys, task, ino, manager, told, log, client }) => {
    const fd = await sys.open('/f', O_RDWR);
    await sys.fcntl_lock(fd, { l_type: 'F_WRLCK' });
    const broken = manager.connect({
      notify: () => {
        throw errno('EIO');
      },
    });
    const a = client('a');
    for (const one of [broken, a]) await one.lock(task, await one.open(task, ino, O_RDWR), WHOLE, 'notify');
    await sys.close(fd);
    await sched.rest();
    t.same(told, ['a notify']);
    t.match(log, [/a client was not called back: .*EIO/]);
  });
});

t.test('the handle of a file that is gone is not that of another with its number', async (t) => {
  await withManager(t, async ({ world, sys, task, ino, client }) => {
    const { i_generation: old } = world.sb.inodeHash.get(ino) ?? { i_generation: 0 };
    const a = client('a');
    await a.close(task, await a.open(task, ino, O_RDWR, old));
    await sys.unlink('/f');
    await sys.close(await sys.open('/g', O_CREAT | O_RDWR, 0o644));
    t.equal((await sys.stat('/g')).ino, ino);
    t.equal(await outcome(() => a.open(task, ino, O_RDWR, old)), 'ESTALE');
  });
});

t.test('what cannot be locked', async (t) => {
  await withManager(t, async ({ task, ino, client }) => {
    const a = client('a');
    const [read, write] = [await a.open(task, ino, 0), await a.open(task, ino, O_WRONLY)];
    const part = (type: 'F_RDLCK' | 'F_WRLCK', start: number, length: number) => ({ type, start, length });
    t.equal(await outcome(() => a.lock(task, read, part('F_WRLCK', 0, 1))), 'EBADF');
    t.equal(await outcome(() => a.lock(task, write, part('F_RDLCK', 0, 1))), 'EBADF');
    t.equal(await outcome(() => a.lock(task, read, part('F_RDLCK', -1, 1))), 'EINVAL');
    t.equal(await outcome(() => a.test(task, read, part('F_RDLCK', 0, -1))), 'EINVAL');
    t.equal(await a.lock(task, read, part('F_RDLCK', 5, Number.MAX_SAFE_INTEGER)), 'granted', 'to the end of any file');
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

t.test('latch: a bug while a lock is waited for refuses it, and keeps neither the file nor the task', async (t) => {
  await withManager(t, async ({ sched, manager, task, ino, told, log, client }) => {
    const [a, b] = [client('a'), client('b')];
    const mine = await a.open(task, ino, O_RDWR);
    const theirs = await b.open(task, ino, O_RDWR);
    await a.lock(task, mine, WHOLE);
    const condemn = manager.condemn.bind(manager);
    let asked = 0;
    manager.condemn = (of) => {
      if (++asked === 2) throw new TypeError('a bug');
      return condemn(of);
    };
    t.equal(await b.lock(task, theirs, WHOLE, 'grant'), 'deferred');
    await sched.rest();
    t.equal(asked, 2);
    t.match(log, [/a lock could not be waited for: TypeError: a bug/]);
    await a.lock(task, mine, NOTHING);
    await sched.rest();
    t.same(told, [], 'b was refused');
    t.equal(await b.lock(task, theirs, WHOLE, 'grant'), 'granted');
  });
});

t.test('latch: a lock manager that fails as it is answered keeps neither the file nor the task', async (t) => {
  await withManager(t, async ({ sched, sys, task, ino, log, client }) => {
    const fd = await sys.open('/f', O_RDWR);
    await sys.fcntl_lock(fd, { l_type: 'F_WRLCK' });
    const wrong = client('wrong');
    wrong.answered = () => {
      throw new TypeError('a bug');
    };
    const file = await wrong.open(task, ino, O_RDWR);
    t.equal(await wrong.lock(task, file, WHOLE, 'grant'), 'deferred');
    await sys.fcntl_lock(fd, { l_type: 'F_UNLCK' });
    await sched.rest();
    t.match(log, [/a lock was not answered: TypeError: a bug/]);
  });
});
