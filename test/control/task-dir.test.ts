/** `.latchfs/task`: names that are true only for as long as a task sleeps, and links that lead where no text could. */

import t from 'tap';
import { attachControl } from '../../src/control/automount.js';
import { TASK_DIR_INO } from '../../src/control/task-dir.js';
import { dput } from '../../src/fs/dcache.js';
import { shrink_dcache_sb } from '../../src/fs/dcache-shrink.js';
import { dentry_of_ino } from '../../src/fs/export.js';
import { lookup_mnt } from '../../src/fs/namespace.js';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { WaitQueue } from '../../src/sched/wait.js';
import {
  AT_FDCWD,
  O_CREAT,
  O_DIRECTORY,
  O_RDWR,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from '../../src/uapi/fcntl.js';
import { newWorld, outcome } from '../fs/world.js';

t.test('what sleeps is there, what has gone on is not', async (t) => {
  const world = await newWorld();
  const { sb, run } = world;
  const remove = await run((task) => attachControl(task, sb, [], { uid: 0, gid: 0 }));
  const process = new Process(sb);
  const sys = syscalls(process);
  const list = async (path: string): Promise<string[]> => {
    const fd = await sys.open(path, O_DIRECTORY);
    const found = await sys.getdents(fd);
    await sys.close(fd);
    return found.map(({ name }) => name);
  };
  const tasks = '/.latchfs/task';
  t.same(await list(tasks), ['.', '..']);
  await sys.mkdir('/d', 0o755);
  const dir = sb.inodeHash.get((await sys.stat('/d')).ino);
  if (dir === undefined) throw new Error('no inode');
  const [holder, waiter] = [world.task(), world.task()];
  const queue = new WaitQueue();
  const held = await dir.i_rwsem.write(holder);
  const asleep = queue.wait(holder, { what: 'the end' });
  const waiting = Promise.resolve(dir.i_rwsem.write(waiter));
  const path = `${tasks}/${waiter.id}`;
  t.same(await list(tasks), ['.', '..', String(holder.id), String(waiter.id)], 'in the order of their numbers');
  t.same(await list(path), ['.', '..', 'status', 'blocker']);
  t.same(await list(`${tasks}/${holder.id}`), ['.', '..', 'status'], 'who waits for no task has no link to one');
  t.equal(await outcome(() => sys.stat(`${tasks}/0${waiter.id}`)), 'ENOENT', 'one name for each');
  t.equal(await outcome(() => sys.stat(`${tasks}/999999`)), 'ENOENT');
  t.equal(await outcome(() => sys.mkdir(`${tasks}/1`, 0o755)), 'EPERM');

  // The link: read, walked through, and refused to those who do not want to be led away.
  t.equal(await sys.readlink(`${path}/blocker`), `../${holder.id}`);
  t.equal((await sys.stat(`${path}/blocker`)).ino, (await sys.stat(`${tasks}/${holder.id}`)).ino);
  const fd = await sys.open(`${path}/blocker/status`, 0);
  t.match(String(await sys.read(fd, 200)), /waits for the end[\s\S]*holds i_rwsem \(write\)/);
  await sys.close(fd);
  t.equal(await outcome(() => sys.open(`${path}/blocker`, O_CREAT | O_RDWR, 0o644)), 'EISDIR');
  const through = (resolve: number): Promise<string> => {
    return outcome(async () => sys.close(await sys.openat2(AT_FDCWD, `${path}/blocker`, { flags: 0, resolve })));
  };
  t.equal(await through(0), 'ok');
  t.equal(await through(RESOLVE_NO_MAGICLINKS), 'ELOOP');
  t.equal(await through(RESOLVE_NO_SYMLINKS), 'ELOOP');
  t.equal(await through(RESOLVE_NO_XDEV), 'EXDEV', 'the mount is crossed before');
  await sys.chdir(path);
  const beneath = { flags: 0, resolve: RESOLVE_BENEATH };
  t.equal(await outcome(() => sys.openat2(AT_FDCWD, 'blocker', beneath)), 'EXDEV');
  const ok = { flags: 0, resolve: RESOLVE_NO_XDEV };
  t.equal(await outcome(async () => sys.close(await sys.openat2(AT_FDCWD, 'blocker', ok))), 'ok');

  // By number, as a server is asked.
  const point = sb.s_root?.d_children?.get('.latchfs');
  const control = point === undefined ? undefined : lookup_mnt(point)?.mnt_sb;
  if (control === undefined) throw new Error('not mounted');
  const byNumber = (ino: number): Promise<string> =>
    outcome(() => run(async (task) => dput(task, await dentry_of_ino(task, control, ino))));
  const ino = TASK_DIR_INO + waiter.id * 4;
  for (const part of [0, 1, 2]) t.equal(await byNumber(ino + part), 'ok');
  t.equal(await byNumber(TASK_DIR_INO + holder.id * 4 + 2), 'ESTALE');
  t.equal(await byNumber(ino + 3), 'ESTALE', 'a number that is nothing of a task');
  t.equal(await byNumber(TASK_DIR_INO + 1), 'ESTALE');
  t.equal(await byNumber(77), 'ESTALE', 'nor a control file');

  const status = await sys.open('status', 0);
  queue.wake_all();
  await asleep;
  t.equal(await sys.readlink('blocker'), `../${holder.id}`);
  t.equal(await outcome(() => sys.stat('blocker')), 'ENOENT', 'who is awake has no directory');
  held.release();
  (await waiting).release();
  t.same(await list(tasks), ['.', '..']);
  t.equal(await outcome(() => sys.stat('.')), 'ESTALE', 'where the process is');
  t.equal(await outcome(() => sys.stat(path)), 'ENOENT');
  t.equal(await outcome(() => sys.open('status', 0)), 'ENOENT');
  t.equal(await outcome(() => sys.readlink('blocker')), 'ENOENT');
  t.match(String(await sys.read(status, 200)), /i_rwsem/, 'what was opened shows what was');
  await sys.close(status);
  await sys.chdir('/');
  t.equal(await byNumber(ino), 'ESTALE');
  await run((task) => shrink_dcache_sb(task, control));
  t.equal(control.inodeHash.size, 2, 'and nothing is left of it once memory is wanted');
  await process.exit();
  await run(remove);
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
});
