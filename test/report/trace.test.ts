/** The lock trace: what is recorded of a request, and how it looks as a tree and in Chrome's format. */
import t from 'tap';
import { file_operations } from '../../src/contract/file.js';
import { inode_operations } from '../../src/contract/inode.js';
import { call, task_end } from '../../src/locking/context.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { type RequestTrace, TraceRecorder } from '../../src/report/trace.js';
import { chromeTrace } from '../../src/report/trace-chrome.js';
import { traceTree } from '../../src/report/trace-tree.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';

function machine(limit?: number) {
  const requests: RequestTrace[] = [];
  const validator = new Lockdep('warn', (violation) => t.fail(violation.message));
  const recorder = new TraceRecorder((request) => requests.push(request), {
    wanted: (task) => task.comm !== 'other',
    ...(limit === undefined ? {} : { limit }),
  });
  validator.observer = recorder;
  const sched = new RealScheduler();
  return { requests, recorder, task: (comm = 'test') => new Task(sched, validator, { comm, pid: 7 }) };
}

t.test('operations, locks and waits, in order', async (t) => {
  const { requests, task } = machine();
  const [dir, child] = [new RwSem('i_rwsem'), new RwSem('i_rwsem')];
  const own = task();
  own.syscall = 'mkdir';
  const other = task('other');
  const blocking = await child.write(other);
  const work = async (): Promise<void> => {
    const held = await dir.write(own, 1);
    await call(own, inode_operations.mkdir, { dir }, async () => {
      const inner = await child.read(own);
      inner.release();
    });
    held.release();
  };
  const done = work();
  await own.sched.yield();
  blocking.release();
  await done;
  task_end(own);
  task_end(other);
  t.equal(requests.length, 1, 'what is not wanted is not recorded');
  const [request] = requests;
  t.match(request, { comm: 'test', pid: 7, syscall: 'mkdir' });
  const said = request?.events.map(
    ({ what, name, instance, mode }) => `${what} ${name} ${instance ?? ''} ${mode ?? ''}`,
  );
  t.same(
    said?.map((text) => text.trim().replace(/ +/g, ' ')),
    [
      'take i_rwsem/1 1 write',
      'enter inode_operations.mkdir',
      'sleep i_rwsem (read)',
      'take i_rwsem 2 read',
      'wake',
      'drop i_rwsem 2 read',
      'leave inode_operations.mkdir',
      'drop i_rwsem/1 1 write',
    ],
  );
  const times = request?.events.map(({ at }) => at) ?? [];
  t.same(
    times,
    [...times].sort((a, b) => a - b),
  );
});

/** A request as it might be recorded. */
const REQUEST: RequestTrace = {
  task: 5,
  comm: 'fuse',
  pid: 42,
  syscall: 'FUSE_MKDIR',
  events: [
    { at: 100, what: 'take', name: 'i_rwsem/1', instance: 1, mode: 'write' },
    { at: 101.5, what: 'enter', name: 'inode_operations.mkdir' },
    { at: 102, what: 'sleep', name: 'alloc_lock (write)' },
    { at: 110, what: 'wake', name: '' },
    { at: 110, what: 'take', name: 'alloc_lock', instance: 1, mode: 'write' },
    { at: 111, what: 'access', name: 'inode.i_size', mode: 'write' },
    { at: 112, what: 'drop', name: 'alloc_lock', instance: 1, mode: 'write' },
    { at: 113, what: 'leave', name: 'inode_operations.mkdir', failed: true },
    { at: 114, what: 'drop', name: 'i_rwsem/1', instance: 1, mode: 'write' },
  ],
};

t.test('as a tree', (t) => {
  t.same(traceTree(REQUEST).split('\n'), [
    'FUSE_MKDIR (fuse/42, 14.0 µs)',
    '      0.0   + i_rwsem/1 #1 exclusive',
    '      1.5   inode_operations.mkdir',
    '      2.0     waits for alloc_lock (write)',
    '     10.0     goes on after 8.0 µs',
    '     10.0     + alloc_lock #1 exclusive',
    '     11.0     changes inode.i_size',
    '     12.0     - alloc_lock #1',
    '     13.0   failed after 11.5 µs (inode_operations.mkdir)',
    '     14.0   - i_rwsem/1 #1',
  ]);
  t.end();
});

t.test("in Chrome's format, every slice that begins ends", (t) => {
  const { traceEvents, displayTimeUnit } = chromeTrace([REQUEST]);
  t.equal(displayTimeUnit, 'ns');
  const stack: string[] = [];
  const open = new Set<string>();
  for (const { ph, name, id = '', pid, tid, ts } of traceEvents) {
    t.same([pid, tid], [42, 5]);
    t.type(ts, 'number');
    if (ph === 'B') stack.push(name);
    else if (ph === 'E') t.equal(stack.pop(), name);
    else if (ph === 'b') open.add(id);
    else if (ph === 'e') t.ok(open.delete(id));
  }
  t.same(stack, []);
  t.equal(open.size, 0);
  t.same(
    traceEvents.filter(({ ph }) => ph === 'B').map(({ name, cat }) => [cat, name]),
    [
      ['request', 'FUSE_MKDIR'],
      ['operation', 'inode_operations.mkdir'],
      ['wait', 'waits for alloc_lock (write)'],
    ],
  );
  t.end();
});

t.test('a request without end keeps only so much', (t) => {
  const { requests, recorder, task } = machine(4);
  const own = task();
  for (let i = 0; i < 5; i++) call(own, file_operations.fsync, {}, () => undefined);
  task_end(own);
  t.equal(requests[0]?.events.length, 4);
  t.equal(recorder.lost, 6);
  t.end();
});
