/** Many who want locks of one file at once: each gets it, nobody is forgotten, and one that goes wakes those only who can have it then. */

import t from 'tap';
import { Process, type Syscalls, syscalls } from '../../../src/fs/syscalls.js';
import { isErrno } from '../../../src/sched/errno.js';
import { LOCK_EX, LOCK_SH, LOCK_UN, O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { newWorld, type World } from '../world.js';

interface Client {
  readonly process: Process;
  readonly sys: Syscalls;
  readonly fd: number;
}

async function clients(world: World, count: number): Promise<Client[]> {
  const found: Client[] = [];
  for (let i = 0; i < count; i++) {
    const process = new Process(world.sb);
    const sys = syscalls(process);
    found.push({ process, sys, fd: await sys.open('/f', O_CREAT | O_RDWR, 0o644) });
  }
  return found;
}

type Lock = (client: Client, exclusive: boolean, start: number, length: number) => Promise<void>;
type Unlock = (client: Client) => Promise<void>;

const kinds: readonly [string, Lock, Unlock][] = [
  [
    'flock',
    async ({ sys, fd }, exclusive) => sys.flock(fd, exclusive ? LOCK_EX : LOCK_SH),
    async ({ sys, fd }) => sys.flock(fd, LOCK_UN),
  ],
  [
    'fcntl',
    async ({ sys, fd }, exclusive, l_start, l_len) =>
      sys.fcntl_lock(fd, { l_type: exclusive ? 'F_WRLCK' : 'F_RDLCK', l_start, l_len }, true),
    async ({ sys, fd }) => sys.fcntl_lock(fd, { l_type: 'F_UNLCK' }),
  ],
];

for (const [kind, lock, unlock] of kinds) {
  t.test(`${kind}: a storm costs no more than there are of them`, async (t) => {
    const world = await newWorld();
    const [owner, ...others] = await clients(world, 1_000);
    if (owner === undefined) throw new Error('nobody');
    await lock(owner, true, 0, 0);
    let inside = 0;
    let most = 0;
    const all = others.map(async (client) => {
      await lock(client, true, 0, 0);
      most = Math.max(most, ++inside);
      await world.machine.sched.yield();
      inside--;
      await unlock(client);
    });
    await world.machine.sched.yield();
    const before = process.cpuUsage();
    await unlock(owner);
    await Promise.all(all);
    const { user, system } = process.cpuUsage(before);
    t.equal(most, 1, 'one at a time');
    t.ok(user + system < 15_000_000, `${(user + system) / 1e6} s`);
    for (const client of [owner, ...others]) await client.process.exit();
    t.equal(await world.end(), 0);
    t.same(world.violations, []);
  });

  t.test(`${kind}: whoever waits and is not interrupted gets it`, async (t) => {
    const world = await newWorld();
    let seed = 12345;
    const dice = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % n;
    };
    const all = await clients(world, 40);
    const held = new Map<Client, { exclusive: boolean; start: number; end: number }>();
    const fits = (client: Client, exclusive: boolean, start: number, end: number): boolean =>
      [...held].every(
        ([other, its]) => other === client || its.end <= start || end <= its.start || (!exclusive && !its.exclusive),
      );
    let interrupted = 0;
    const use = async (client: Client): Promise<void> => {
      for (let i = 0; i < 30; i++) {
        const [exclusive, start, length] = [dice(3) > 0, dice(20), 1 + dice(6)];
        const [from, to] = kind === 'flock' ? [0, 1] : [start, start + length];
        try {
          await lock(client, exclusive, start, length);
        } catch (error) {
          if (!isErrno(error, 'EINTR')) throw error;
          interrupted++;
          continue;
        }
        if (!fits(client, exclusive, from, to)) throw new Error('two have it');
        held.set(client, { exclusive, start: from, end: to });
        for (let turns = dice(4); turns > 0; turns--) await world.machine.sched.yield();
        if (dice(8) === 0) all[dice(all.length)]?.process.signal('SIGUSR1');
        held.delete(client);
        await unlock(client);
      }
    };
    await Promise.all(all.map(use));
    t.ok(interrupted > 0, `${interrupted} were interrupted`);
    for (const client of all) await client.process.exit();
    t.equal(await world.end(), 0);
    t.same(world.violations, []);
  });
}
