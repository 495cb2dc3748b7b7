/** Record locks against a plain model: one owner and type for each byte. */

import fc from 'fast-check';
import t from 'tap';
import { dput } from '../../../src/fs/dcache.js';
import type { File } from '../../../src/fs/file.js';
import { fput } from '../../../src/fs/file-table.js';
import type { FileLock, FileLockType } from '../../../src/fs/locks/file-lock.js';
import { locks_remove_posix, vfs_lock, vfs_test_lock } from '../../../src/fs/locks.js';
import { do_create } from '../../../src/fs/namei.js';
import { vfs_open } from '../../../src/fs/open.js';
import { O_RDWR } from '../../../src/uapi/fcntl.js';
import { newWorld, outcome } from '../world.js';

const BYTES = 24;
const OWNERS = 3;

interface Step {
  readonly owner: number;
  readonly type: FileLockType;
  readonly start: number;
  readonly length: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  owner: fc.nat({ max: OWNERS - 1 }),
  type: fc.constantFrom<FileLockType>('F_RDLCK', 'F_WRLCK', 'F_UNLCK'),
  start: fc.nat({ max: BYTES - 1 }),
  length: fc.integer({ min: 1, max: BYTES }),
});

/** For each byte and owner what is held. */
type Model = FileLockType[][];

function freshModel(): Model {
  return Array.from({ length: OWNERS }, () => Array<FileLockType>(BYTES).fill('F_UNLCK'));
}

function conflicts(model: Model, { owner, type, start, length }: Step): boolean {
  if (type === 'F_UNLCK') return false;
  for (const [other, held] of model.entries()) {
    if (other === owner) continue;
    for (let at = start; at < Math.min(BYTES, start + length); at++) {
      if (held[at] === 'F_WRLCK' || (held[at] === 'F_RDLCK' && type === 'F_WRLCK')) return true;
    }
  }
  return false;
}

t.test('locks are split and merged as bytes say', async (t) => {
  const world = await newWorld();
  const owners = Array.from({ length: OWNERS }, () => ({}));
  const file = await world.run(async (task) => {
    const dentry = await do_create(task, world.root, 'f', 0o644, true);
    const opened = await vfs_open(task, dentry, O_RDWR);
    await dput(task, dentry);
    return opened;
  });
  const request = ({ owner, type, start, length }: Step, kind: 'posix' | 'ofd'): FileLock => ({
    kind,
    type,
    owner: owners[owner] ?? {},
    pid: owner + 1,
    file,
    start,
    end: Math.min(BYTES, start + length) - 1,
    wait: false,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.constantFrom('posix' as const, 'ofd' as const),
      (steps, kind) =>
        world.run(async (task) => {
          const model = freshModel();
          for (const each of steps) {
            const blocked = conflicts(model, each);
            const got = await outcome(() => vfs_lock(task, file, request(each, kind)));
            if (got !== (blocked ? 'EAGAIN' : 'ok')) throw new Error(`${JSON.stringify(each)}: ${got}`);
            if (!blocked) model[each.owner]?.fill(each.type, each.start, Math.min(BYTES, each.start + each.length));
            check(file, model, owners);
            const found = await vfs_test_lock(task, file, request({ ...each, type: 'F_WRLCK' }, kind));
            const expected = conflicts(model, { ...each, type: 'F_WRLCK' });
            if ((found !== undefined) !== expected) throw new Error(`test of ${JSON.stringify(each)}`);
          }
          for (const owner of owners) {
            if (kind === 'posix') await locks_remove_posix(task, file, owner);
            else
              await vfs_lock(task, file, {
                ...request({ owner: 0, type: 'F_UNLCK', start: 0, length: BYTES }, kind),
                owner,
              });
          }
          if ((file.f_inode.i_flctx?.glance().posix.length ?? 0) > 0) throw new Error('locks are left');
        }),
    ),
    { numRuns: 200 },
  );
  await world.run((task) => fput(task, file));
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

/** The list says what the model says, with as few locks as can be. */
function check(file: File, model: Model, owners: readonly object[]): void {
  const list = file.f_inode.i_flctx?.glance().posix ?? [];
  for (const [i, lock] of list.entries()) {
    const next = list[i + 1];
    if (next === undefined) break;
    if (next.owner === lock.owner && next.start <= lock.end) throw new Error('the locks of an owner are not in order');
    if (next.owner !== lock.owner && list.slice(i + 1).some(({ owner }) => owner === lock.owner))
      throw new Error('the locks of an owner are not together');
  }
  for (const [index, owner] of owners.entries()) {
    const bytes = Array<FileLockType>(BYTES).fill('F_UNLCK');
    const mine = list.filter((lock) => lock.owner === owner);
    for (const lock of mine) {
      for (let at = lock.start; at <= lock.end; at++) {
        if (bytes[at] !== 'F_UNLCK') throw new Error(`byte ${at} is locked twice`);
        bytes[at] = lock.type;
      }
    }
    const wanted = model[index] ?? [];
    if (bytes.join() !== wanted.join()) throw new Error(`owner ${index}: ${bytes.join()} for ${wanted.join()}`);
    let runs = 0;
    for (const [at, type] of wanted.entries()) if (type !== 'F_UNLCK' && type !== wanted[at - 1]) runs++;
    if (mine.length !== runs) throw new Error(`owner ${index} has ${mine.length} locks for ${runs} runs`);
  }
}

t.test('deadlocks are found over several owners', async (t) => {
  const world = await newWorld();
  const file = await world.run(async (task) => {
    const dentry = await do_create(task, world.root, 'f', 0o644, true);
    const opened = await vfs_open(task, dentry, O_RDWR);
    await dput(task, dentry);
    return opened;
  });
  const owners = [{}, {}, {}];
  const lock = (owner: number, at: number, wait: boolean): FileLock => ({
    kind: 'posix',
    type: 'F_WRLCK',
    owner: owners[owner] ?? {},
    pid: owner,
    file,
    start: at,
    end: at,
    wait,
  });
  const take = (owner: number, at: number, wait = false): Promise<string> =>
    outcome(() => world.run((task) => vfs_lock(task, file, lock(owner, at, wait))));
  for (const owner of [0, 1, 2]) t.equal(await take(owner, owner), 'ok');
  const first = take(0, 1, true);
  const second = take(1, 2, true);
  t.equal(await take(2, 0, true), 'EDEADLK');
  await world.run((task) => locks_remove_posix(task, file, owners[2] ?? {}));
  t.equal(await second, 'ok');
  await world.run((task) => locks_remove_posix(task, file, owners[1] ?? {}));
  t.equal(await first, 'ok');
  await world.run((task) => locks_remove_posix(task, file, owners[0] ?? {}));
  await world.run((task) => fput(task, file));
  t.equal(await world.end(), 0);
});

for (const [name, asked] of [
  ['in this process', { kind: 'ofd' }],
  ['by way of a server', { kind: 'posix', forOpenFile: true }],
] as const) {
  t.test(`of a circle with an open file the process is told, ${name}`, async (t) => {
    const world = await newWorld();
    const file = await world.run(async (task) => {
      const dentry = await do_create(task, world.root, 'f', 0o644, true);
      const opened = await vfs_open(task, dentry, O_RDWR);
      await dput(task, dentry);
      return opened;
    });
    const [process, opened] = [{}, {}];
    const lock = (owner: object, type: FileLockType, at: number, wait: boolean): Promise<string> => {
      const who: Pick<FileLock, 'kind' | 'forOpenFile'> = owner === opened ? asked : { kind: 'posix' };
      const request: FileLock = { ...who, type, owner, pid: 1, file, start: at, end: at, wait };
      return outcome(() => world.run((task) => vfs_lock(task, file, request)));
    };
    t.equal(await lock(process, 'F_WRLCK', 0, false), 'ok');
    t.equal(await lock(opened, 'F_WRLCK', 1, false), 'ok');
    const first = lock(opened, 'F_WRLCK', 0, true);
    t.equal(await lock(process, 'F_WRLCK', 1, true), 'EDEADLK');
    await lock(process, 'F_UNLCK', 0, false);
    t.equal(await first, 'ok');
    t.equal(await lock(process, 'F_WRLCK', 2, false), 'ok');
    const second = lock(process, 'F_WRLCK', 0, true);
    const third = lock(opened, 'F_WRLCK', 2, true);
    await lock(process, 'F_UNLCK', 2, false);
    t.equal(await third, 'ok', 'and the open file waits');
    for (const at of [0, 1, 2]) await lock(opened, 'F_UNLCK', at, false);
    t.equal(await second, 'ok');
    await lock(process, 'F_UNLCK', 0, false);
    await world.run((task) => fput(task, file));
    t.equal(await world.end(), 0);
  });
}
