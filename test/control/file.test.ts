/** Control files as open files, reached by processes from the filesystem that they belong to. */

import t from 'tap';
import { attachControl, CONTROL_NAME } from '../../src/control/automount.js';
import { lookup_mnt } from '../../src/fs/namespace.js';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { ViolationHistory } from '../../src/report/violations.js';
import type { Task } from '../../src/sched/task.js';
import type { Validator } from '../../src/sched/validator.js';
import { FASYNC, O_DIRECT, O_NONBLOCK, O_RDWR } from '../../src/uapi/fcntl.js';
import { MNT_FORCE } from '../../src/uapi/mount.js';
import { newWorld, opsCalled, outcome } from '../fs/world.js';

t.test('flags, fdinfo, and the end of their inodes', async (t) => {
  const world = await newWorld();
  const { sb, run } = world;
  const files = [{ name: 'one', show: () => 'four', write: () => undefined }];
  const remove = await run((task) => attachControl(task, sb, files, { uid: 0, gid: 0 }));
  const process = new Process(sb);
  const sys = syscalls(process);
  const fd = await sys.open(`/${CONTROL_NAME}/one`, O_RDWR);
  t.match(await sys.fdinfo(fd), /^content-bytes:\t4$/m, 'how long it is, which its size does not tell');
  t.equal(await outcome(() => sys.fcntl_setfl(fd, FASYNC)), 'EINVAL');
  t.equal(await outcome(() => sys.fcntl_setfl(fd, O_DIRECT)), 'EINVAL');
  t.equal(await outcome(() => sys.fcntl_setfl(fd, O_NONBLOCK)), 'ok');
  await sys.close(fd);
  // Cached now: walked under RCU, from one filesystem into another.
  t.equal((await sys.stat(`/${CONTROL_NAME}/one`)).size, 0);
  const point = sb.s_root?.d_children?.get(CONTROL_NAME);
  const control = point === undefined ? undefined : lookup_mnt(point)?.mnt_sb;
  t.equal(control?.inodeHash.size, 3);
  await process.exit();
  const called = await opsCalled(world, () => run(remove));
  t.equal(called.filter((op) => op === 'drop_inode').length, 3, 'nobody keeps what cannot be found again');
  t.equal(control?.inodeHash.size, 0);
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
});

t.test('read and written as they come, without pages', async (t) => {
  const world = await newWorld();
  const { sb, run } = world;
  const said: string[] = [];
  const files = [
    { name: 'one', show: () => 'four', write: (_task: unknown, text: string) => void said.push(text) },
    { name: 'two', show: () => 'read only' },
  ];
  const remove = await run((task) => attachControl(task, sb, files, { uid: 0, gid: 0 }));
  const process = new Process(sb);
  const sys = syscalls(process);
  const one = await sys.open(`/${CONTROL_NAME}/one`, O_RDWR);
  t.same(await opsCalled(world, async () => t.equal((await sys.read(one, 3)).toString(), 'fou')), ['read']);
  t.equal((await sys.read(one, 3)).toString(), 'r', 'from the position on');
  t.equal((await sys.read(one, 3)).length, 0);
  t.equal((await sys.pread(one, 10, 2)).toString(), 'ur');
  t.equal(await outcome(() => sys.pread(one, 1, -1)), 'EINVAL');
  t.same(await opsCalled(world, async () => t.equal(await sys.write(one, Buffer.from('do')), 2)), ['write']);
  t.same(said, ['do']);
  t.equal(await outcome(() => sys.write(one, Buffer.alloc(4097))), 'EINVAL');
  const two = await sys.open(`/${CONTROL_NAME}/two`, 0);
  t.equal(await outcome(() => sys.write(two, Buffer.from('x'))), 'EBADF');
  const [, to] = await sys.pipe2(0);
  t.equal(await outcome(() => sys.splice(two, 0, to, undefined, 4)), 'EINVAL', 'there are no pages to splice');
  const directory = await sys.open('/', 0);
  t.equal(await outcome(() => sys.read(directory, 1)), 'EISDIR');
  await process.exit();
  await run(remove);
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

function sleeping(validator: Validator): number {
  return validator instanceof Lockdep ? validator.waits.sleepers.size : 0;
}

/** A rule that somebody has broken. */
const BROKEN: Violation = {
  kind: 'lock-not-held',
  message: 'something is wrong',
  rule: 'planted#none',
  row: undefined,
  lock: undefined,
  task: undefined,
  ops: [],
  held: [],
  stack: '',
  seen: 0,
};

t.test('next_violation waits for what is new, a signal, or an unmount by force', async (t) => {
  const world = await newWorld();
  const { sb, run, machine } = world;
  const history = new ViolationHistory();
  const report = history.sink(() => undefined);
  const files = [{ name: 'next_violation', show: (task: Task) => history.next(task) }];
  const remove = await run((task) => attachControl(task, sb, files, { uid: 0, gid: 0 }));
  const process = new Process(sb);
  const sys = syscalls(process);
  const path = `/${CONTROL_NAME}/next_violation`;
  const begin = async <T>(waiting: Promise<T>): Promise<{ end: Promise<T> }> => {
    while (sleeping(machine.validator) === 0) await new Promise((resolve) => setImmediate(resolve));
    return { end: waiting };
  };
  const told = await begin(sys.open(path, 0));
  report(BROKEN);
  t.match(String(await sys.read(await told.end, 1000)), /something is wrong/);
  const again = await begin(outcome(() => sys.open(path, 0)));
  report(BROKEN);
  process.signal('SIGINT');
  t.equal(await again.end, 'EINTR', 'the same once more is nothing new');
  const last = await begin(outcome(() => sys.open(path, 0)));
  const other = process.fork();
  await syscalls(other).umount2(`/${CONTROL_NAME}`, MNT_FORCE);
  t.equal(await last.end, 'EINTR');
  const left = await begin(outcome(() => sys.open(path, 0)));
  await run(remove);
  t.equal(await left.end, 'EINTR', 'nor does anybody wait for longer than there is a filesystem');
  await other.exit();
  await process.exit();
  await world.end();
});
