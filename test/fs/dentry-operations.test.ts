/** Filesystems that have something to say about their names: dentry_operations, called as their rows say, in both kinds of walks. */

import t from 'tap';
import { d_lookup, dput, prune_dcache_sb } from '../../src/fs/dcache.js';
import type { Dentry } from '../../src/fs/dentry.js';
import { LOOKUP_RCU } from '../../src/fs/namei/lookup.js';
import { lookup_one } from '../../src/fs/namei.js';
import type { dentry_operations } from '../../src/fs/operations.js';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { errno } from '../../src/sched/errno.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { newWorld, outcome, type World } from './world.js';

/** Give the filesystem, and its root, these operations. */
function withOperations(world: World, ops: dentry_operations): void {
  world.sb.s_d_op = ops;
  world.root.d_op = ops;
}

t.test('names without regard to case, by d_hash and d_compare', async (t) => {
  const world = await newWorld();
  let compared = 0;
  withOperations(world, {
    d_hash: (_task, _dentry, name) => name.toLowerCase(),
    d_compare: (_task, _dentry, candidate, name) => {
      compared++;
      return candidate.toLowerCase() === name.toLowerCase();
    },
  });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  await sys.close(await sys.open('/Name', O_CREAT | O_RDWR, 0o644));
  t.equal((await sys.stat('/nAME')).ino, (await sys.stat('/Name')).ino);
  t.ok(compared > 0);
  t.equal(await outcome(() => sys.mkdir('/NAME', 0o755)), 'EEXIST');
  await sys.rename('/nAme', '/other');
  t.equal(await outcome(() => sys.stat('/NAME')), 'ENOENT');
  t.equal((await sys.stat('/OTHER')).nlink, 1);
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
});

t.test('d_revalidate: under RCU, by reference where that may not wait, and what is no longer true', async (t) => {
  const world = await newWorld();
  const asked: string[] = [];
  let stale: string | undefined;
  let mayAnswerUnderRcu = true;
  withOperations(world, {
    d_revalidate: (task, dentry, flags) => {
      const rcu = (flags & LOOKUP_RCU) !== 0;
      asked.push(`${dentry.d_name}${rcu ? ' rcu' : ''}`);
      t.equal(task.atomic > 0, rcu, 'under RCU nothing may sleep');
      if (rcu && !mayAnswerUnderRcu) throw errno('ECHILD');
      return dentry.d_name !== stale;
    },
  });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  await sys.mkdir('/d', 0o755);
  await sys.close(await sys.open('/d/f', O_CREAT | O_RDWR, 0o644));
  asked.length = 0;
  const { ino } = await sys.stat('/d/f');
  t.same(asked, ['d rcu', 'f rcu'], 'what is cached is walked under RCU');
  mayAnswerUnderRcu = false;
  asked.length = 0;
  t.equal((await sys.stat('/d/f')).ino, ino);
  t.same(asked, ['d rcu', 'd', 'f'], 'and again by reference where that cannot tell');
  mayAnswerUnderRcu = true;
  stale = 'f';
  const before = await world.run((task) => d_lookup(task, world.root.d_children?.get('d') as Dentry, 'f'));
  t.equal((await sys.stat('/d/f')).ino, ino, 'the name is looked up again');
  const after = world.root.d_children?.get('d')?.d_children?.get('f');
  t.not(after, before, 'and has another dentry');
  await world.run((task) => (before === undefined ? undefined : dput(task, before)));
  stale = undefined;
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
});

t.test('d_weak_revalidate: what was not looked up is asked about at the end', async (t) => {
  const world = await newWorld();
  let valid = true;
  withOperations(world, { d_weak_revalidate: () => valid });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  await sys.mkdir('/d', 0o755);
  t.ok((await sys.stat('/d/..')).ino);
  valid = false;
  t.equal(await outcome(() => sys.stat('/d/..')), 'ESTALE');
  t.equal(await outcome(() => sys.stat('/d')), 'ok');
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
});

t.test('the life of a dentry: d_init, d_delete, d_prune, d_iput, d_release', async (t) => {
  const world = await newWorld();
  const { root, run, sb } = world;
  const log: string[] = [];
  let keep = true;
  withOperations(world, {
    d_init: (_task, dentry) => void log.push(`init ${dentry.d_name}`),
    d_delete: (_task, dentry) => {
      log.push(`delete ${dentry.d_name}`);
      return !keep;
    },
    d_prune: (_task, dentry) => void log.push(`prune ${dentry.d_name}`),
    d_iput: async (task, dentry, inode) => {
      log.push(`iput ${dentry.d_name}`);
      const { iput } = await import('../../src/fs/icache.js');
      await iput(task, inode);
    },
    d_release: (_task, dentry) => void log.push(`release ${dentry.d_name}`),
  });
  const process = new Process(sb);
  const sys = syscalls(process);
  await sys.mkdir('/d', 0o755);
  t.same(log, ['init d', 'delete d'], 'it stays when it is not used');
  log.length = 0;
  await run(async (task) => {
    for (let i = 0; i < 2; i++) await prune_dcache_sb(task, sb, 10);
  });
  t.same(log, ['prune d', 'iput d', 'release d'], 'until memory is short');
  log.length = 0;
  keep = false;
  await run(async (task) => dput(task, await lookup_one(task, root, 'd')));
  t.same(log, ['init d', 'delete d', 'prune d', 'iput d', 'release d'], 'or goes at once where d_delete says so');
  await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
});
