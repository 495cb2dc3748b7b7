/** Pages and the device: who says that a page was read or written, or gives it back, while the device is still at it is found with the deep checks on. */
import t from 'tap';
import { submit_bio } from '../../src/block/bio.js';
import type { BlockDevice } from '../../src/block/block-device.js';
import { faultyDevice } from '../../src/block/faulty-device.js';
import { io_under_way } from '../../src/block/in-flight.js';
import { memoryDevice } from '../../src/block/memory-device.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { filemap_grab_folio } from '../../src/mm/filemap.js';
import { filemap_remove_folio } from '../../src/mm/filemap-tree.js';
import { Folio, folio_get, folio_put } from '../../src/mm/folio.js';
import { tree_of } from '../../src/mm/folio-fields.js';
import {
  folio_end_read,
  folio_end_writeback,
  folio_mark_dirty,
  folio_mark_uptodate,
  folio_start_writeback,
  folio_unlock,
} from '../../src/mm/folio-state.js';
import { ram_aops } from '../../src/mm/libfs.js';
import { MemoryControl } from '../../src/mm/memory.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import { FakeFile, World } from './fake-file.js';

/** A machine with the deep checks on, and a device that takes its time. */
function slow(stacks = true) {
  const sched = new RealScheduler();
  const seen: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => seen.push(violation), { stacks });
  const memory = new MemoryControl(sched, { limit: 1 << 20, validator });
  const device = faultyDevice(memoryDevice(1 << 20, sched, validator), () => ({ delay: 1 }), sched, validator);
  return { memory, device, seen, task: new Task(sched, validator, { comm: 'test' }) };
}

/** Begin to read or write a page. @returns when the device is done */
function begin(task: Task, device: BlockDevice, op: 'read' | 'write', data: Buffer): Promise<void> {
  return new Promise((resolve) => {
    submit_bio(task, device, { op, sector: 0, vecs: [data], length: data.length, end_io: () => resolve() });
  });
}

t.test('bytes are under way from the request to its completion', async (t) => {
  const { memory, device, task } = slow();
  const [folio, other] = [new Folio(memory, undefined, 0), new Folio(memory, undefined, 1)];
  t.equal(io_under_way(folio.data), undefined);
  const done = begin(task, device, 'write', folio.data);
  t.equal(io_under_way(folio.data), 'write');
  t.equal(io_under_way(folio.data.subarray(100, 200)), 'write', 'also a part of them');
  t.equal(io_under_way(other.data), undefined, 'but not those of the page beside it');
  await done;
  t.equal(io_under_way(folio.data), undefined);
  for (const page of [folio, other]) folio_put(page);
});

t.test('without the deep checks nobody keeps count', async (t) => {
  const { memory, device, task } = slow(false);
  const folio = new Folio(memory, undefined, 0);
  const done = begin(task, device, 'write', folio.data);
  t.equal(io_under_way(folio.data), undefined);
  await done;
  folio_put(folio);
});

t.test('a read that ends before the device has read', async (t) => {
  const { memory, device, task, seen } = slow();
  const folio = new Folio(memory, undefined, 0);
  await folio.lock.lock(task);
  const done = begin(task, device, 'read', folio.data);
  folio_end_read(task, folio, true);
  await done;
  t.match(seen, [{ rule: 'address_space_operations.read_folio#unlocks-now-or-at-completion' }]);
  await folio.lock.lock(task);
  await begin(task, device, 'read', folio.data);
  folio_end_read(task, folio, true);
  t.equal(seen.length, 1, 'in its completion, or after it, it may');
  folio_put(folio);
});

t.test('a writeback that ends before the device has written', async (t) => {
  const { memory, device, task, seen } = slow();
  const folio = new Folio(memory, undefined, 0);
  await folio.lock.lock(task);
  folio_start_writeback(task, folio);
  folio_unlock(task, folio);
  const done = begin(task, device, 'write', folio.data);
  folio_end_writeback(task, folio);
  await done;
  t.match(seen, [{ rule: 'address_space_operations.writepage#completion-ends-writeback' }]);
  folio_put(folio);
});

t.test('a page that is freed while the device reads into it', async (t) => {
  const { memory, device, task, seen } = slow();
  const folio = new Folio(memory, undefined, 0);
  const done = begin(task, device, 'read', folio.data);
  folio_put(folio);
  await done;
  t.match(seen, [{ message: /last reference to a folio is put while a device/ }]);
});

t.test('a page that is freed while somebody has it locked', async (t) => {
  const world = new World();
  const folio = new Folio(world.memory, undefined, 0);
  const held = await folio.lock.lock(world.task());
  folio_put(folio);
  t.strictSame(world.messages(), ['the last reference to a folio is put while it is locked']);
  held.release();
});

t.test('a page becomes uptodate before it is unlocked', async (t) => {
  const world = new World();
  const file = new FakeFile(world, ram_aops);
  const task = world.task();
  const { folio } = await filemap_grab_folio(task, file.mapping, 0);
  folio_mark_uptodate(folio);
  t.strictSame(world.messages(), []);
  folio_unlock(task, folio);
  folio_mark_uptodate(folio);
  t.match(world.violations, [{ rule: 'address_space_operations.read_folio#unlocks-now-or-at-completion' }]);
  folio_put(folio);
});

t.test('a page leaves the cache with its tags', async (t) => {
  const world = new World();
  const file = new FakeFile(world, ram_aops);
  const task = world.task();
  const { folio } = await filemap_grab_folio(task, file.mapping, 0);
  folio.data.fill(0);
  folio_mark_uptodate(folio);
  folio_mark_dirty(task, folio);
  folio_get(folio);
  filemap_remove_folio(task, folio);
  t.strictSame(world.messages(), [], 'those of a dirty page go with the dirt');
  folio_unlock(task, folio);
  folio_put(folio);
  folio_put(folio);
  const second = (await filemap_grab_folio(task, file.mapping, 1)).folio;
  tree_of(file.mapping).setMark(1, 'writeback');
  filemap_remove_folio(task, second);
  t.match(world.messages(), [/tagged dirty, under writeback or to write/]);
  folio_unlock(task, second);
  folio_put(second);
});
