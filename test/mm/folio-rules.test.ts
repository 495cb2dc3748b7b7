/** States of pages, and of what they are swapped to, that must not be, made on purpose: each is reported by its rule. */
import t from 'tap';
import { filemap_lock_folio, filemap_remove_folio } from '../../src/mm/filemap.js';
import { type Folio, folio_get, folio_put, PAGE_SIZE } from '../../src/mm/folio.js';
import { folio_clear_dirty_for_io } from '../../src/mm/folio-clean.js';
import { folio_invalidate } from '../../src/mm/folio-promises.js';
import { folio_end_writeback, folio_start_writeback, folio_unlock } from '../../src/mm/folio-state.js';
import { SwapInfo, swap_duplicate, swap_free } from '../../src/mm/swap-info.js';
import { shrink_node, wakeup_kswapd } from '../../src/mm/vmscan.js';
import type { Task } from '../../src/sched/task.js';
import { FakeFile, settle, World } from './fake-file.js';
import { failureOf, Process, TestVmFile } from './process.js';

interface Locked {
  readonly world: World;
  readonly file: FakeFile;
  readonly task: Task;
  readonly folio: Folio;
  /** The rules that were broken since it was asked last. */
  rules(): string[];
}

/** A dirty page of a file, locked, with a reference. */
async function locked(): Promise<Locked> {
  const world = new World();
  const file = new FakeFile(world);
  const task = world.task();
  await file.write(task, 0, Buffer.alloc(PAGE_SIZE, 'd'));
  const found = await filemap_lock_folio(task, file.mapping, 0);
  if (found === undefined) throw new Error('not cached');
  return { world, file, task, folio: found.folio, rules: () => world.violations.splice(0).map(({ rule }) => rule) };
}

t.test('a page leaves the cache under writeback, mapped, or with a tag', async (t) => {
  const written = await locked();
  folio_clear_dirty_for_io(written.task, written.folio);
  folio_start_writeback(written.task, written.folio);
  await folio_invalidate(written.task, written.file.mapping, written.folio, 0, PAGE_SIZE, false);
  t.same(written.rules(), ['folio#stays-while-written'], 'nor may a part of it go');
  filemap_remove_folio(written.task, written.folio);
  t.same(written.rules(), ['folio#stays-while-written', 'folio#leaves-no-tag']);
  const mapped = await locked();
  mapped.folio.mapcount = 1;
  filemap_remove_folio(mapped.task, mapped.folio);
  t.same(mapped.rules(), ['folio#stays-while-mapped']);
  const tagged = await locked();
  folio_clear_dirty_for_io(tagged.task, tagged.folio);
  filemap_remove_folio(tagged.task, tagged.folio);
  t.same(tagged.rules(), ['folio#leaves-no-tag'], 'clean, and tagged dirty still');
  const fine = await locked();
  filemap_remove_folio(fine.task, fine.folio);
  t.same(fine.rules(), []);
});

t.test('the last reference goes while the page is in use, and one too many', async (t) => {
  const { task, folio, rules } = await locked();
  folio_put(folio);
  t.same(rules(), []);
  folio_put(folio);
  t.same(rules(), ['folio#freed-when-nobody-has-it'], 'that of the cache');
  folio_get(folio);
  folio_get(folio);
  filemap_remove_folio(task, folio);
  folio_put(folio);
  t.same(rules(), ['folio#freed-when-nobody-has-it'], 'it is locked');
  folio_get(folio);
  folio_unlock(task, folio);
  folio_put(folio);
  t.same(rules(), []);
  folio_put(folio);
  t.same(rules(), ['folio#freed-when-nobody-has-it'], 'it is gone');
});

t.test('a page is cleaned that was not counted as dirty', async (t) => {
  const { world, task, folio, rules } = await locked();
  world.memory.nr_dirty = 0;
  folio_clear_dirty_for_io(task, folio);
  t.same(rules(), ['folio#counted-while-dirty']);
  t.equal(world.memory.nr_dirty, 0);
  folio_start_writeback(task, folio);
  folio_end_writeback(task, folio);
  t.same(rules(), []);
});

t.test('a slot in swap is freed once more than it was used', (t) => {
  const world = new World();
  const task = world.task();
  const entry = { si: new SwapInfo(new FakeFile(world).open(), 8), slot: 3 };
  swap_duplicate(task, entry);
  swap_free(task, entry);
  t.same(world.messages(), []);
  swap_free(task, entry);
  t.match(world.violations, [{ rule: 'swap#slot-freed-once', held: [{ lock: 'swap_lock' }] }]);
  t.end();
});

t.test('fault answers without an error, and without a page', async (t) => {
  const world = new World();
  const process = new Process(world);
  const at = await process.mmap(new TestVmFile(new FakeFile(world), { fault: () => 0 }), PAGE_SIZE);
  t.equal(await failureOf(process.load(at, 1)), 'SIGBUS');
  t.match(world.violations, [{ rule: 'vm_operations_struct.fault#finds-the-page' }]);
});

t.test('what fails in the background is told', async (t) => {
  const world = new World({ limit: 64 * PAGE_SIZE });
  // As many as wake it up.
  await new FakeFile(world).write(world.task(), 0, Buffer.alloc(61 * PAGE_SIZE));
  while (world.memory.kswapdRunning) await settle();
  world.memory.shrinkers.add({
    count: () => 1 << 20,
    scan: () => {
      throw new Error('planted');
    },
  });
  await t.rejects(shrink_node(world.task(), world.memory, 1, 0), /planted/);
  wakeup_kswapd(world.memory);
  while (world.memory.kswapdRunning) await settle();
  await settle();
  t.same(world.messages(), ['reclaim failed: Error: planted']);
});
