/** Writeback: the two modes of writepage, the state it must leave, errors, limits for writers. */
import t from 'tap';
import { Bdi } from '../../src/mm/backing-dev.js';
import { filemap_lock_folio } from '../../src/mm/filemap.js';
import {
  file_write_and_wait_range,
  filemap_fdatawrite_range,
  filemap_flush,
  filemap_write_and_wait_range,
} from '../../src/mm/filemap-wait.js';
import { folio_put, PAGE_SIZE } from '../../src/mm/folio.js';
import { folio_clear_dirty_for_io } from '../../src/mm/folio-clean.js';
import {
  folio_end_writeback,
  folio_mark_dirty,
  folio_start_writeback,
  folio_unlock,
} from '../../src/mm/folio-state.js';
import { type address_space_operations, WRITEPAGE_ACTIVATE, type WritebackControl } from '../../src/mm/operations.js';
import { do_writepages, write_cache_pages } from '../../src/mm/page-writeback.js';
import { errno } from '../../src/sched/errno.js';
import { eio, FakeFile, hops, settle, World } from './fake-file.js';

const ALL = Number.POSITIVE_INFINITY;
const page = (byte: number): Buffer => Buffer.alloc(PAGE_SIZE, byte);

function wbc(over: Partial<WritebackControl> = {}): WritebackControl {
  return { sync_mode: 'WBC_SYNC_NONE', nr_to_write: ALL, range_start: 0, range_end: ALL, pages_skipped: 0, ...over };
}

async function written(world: World, pages: number, extra: address_space_operations = {}): Promise<FakeFile> {
  const file = new FakeFile(world, extra);
  for (let i = 0; i < pages; i++) await file.write(world.task(), i * PAGE_SIZE, page(i + 1));
  return file;
}

t.test('cleansing passes a page by that is under writeback, sync waits for it and writes it again', async (t) => {
  const world = new World();
  const file = await written(world, 1);
  file.behaviour = { hold: true };
  await filemap_flush(world.task(), file.mapping);
  t.equal(world.memory.nr_writeback, 1);
  await file.write(world.task(), 0, page(9));
  t.equal(world.memory.nr_dirty, 1, 'dirty again while it is being written');
  await filemap_flush(world.task(), file.mapping);
  t.same(file.log, ['writepage 0 WBC_SYNC_NONE'], 'the cleansing pass does not wait');
  let synced = false;
  const sync = filemap_write_and_wait_range(world.task(), file.mapping, 0, ALL).then(() => {
    synced = true;
  });
  await hops(50);
  t.equal(synced, false);
  t.equal(file.log.length, 1, 'it waits for the write that is under way');
  file.resume();
  await hops(50);
  t.same(file.log[1], 'writepage 0 WBC_SYNC_ALL');
  t.equal(synced, false, 'and for its own');
  file.resume();
  await sync;
  t.same(file.stored(), page(9));
  t.same(world.messages(), []);
});

t.test('a folio that is redirtied is skipped, counted and written next time', async (t) => {
  const world = new World();
  const file = await written(world, 3);
  file.behaviour = { redirty: () => true };
  const control = wbc();
  await do_writepages(world.task(), file.mapping, control);
  t.equal(control.pages_skipped, 3);
  t.equal(world.memory.nr_dirty, 3);
  await filemap_write_and_wait_range(world.task(), file.mapping, 0, ALL);
  t.equal(world.memory.nr_dirty, 0);
  t.equal(file.device.size, 3);
  t.same(world.messages(), []);
});

t.test('nr_to_write and ranges', async (t) => {
  const world = new World();
  const file = await written(world, 10);
  const control = wbc({ nr_to_write: 4, range_cyclic: true });
  await do_writepages(world.task(), file.mapping, control);
  t.equal(control.nr_to_write, 0);
  t.same([...file.device.keys()], [0, 1, 2, 3]);
  t.equal(file.mapping.writeback_index, 4);
  await do_writepages(world.task(), file.mapping, wbc({ nr_to_write: 2, range_cyclic: true }));
  t.same([...file.device.keys()], [0, 1, 2, 3, 4, 5], 'a cyclic pass goes on where the last one ended');
  await filemap_fdatawrite_range(world.task(), file.mapping, 8 * PAGE_SIZE, 9 * PAGE_SIZE - 1);
  t.same([...file.device.keys()].slice(6), [8], 'only what is in the range');
  await filemap_write_and_wait_range(world.task(), file.mapping, 0, ALL);
  t.equal(file.device.size, 10);
});

t.test('a sync ends although somebody dirties pages behind it', async (t) => {
  const world = new World();
  const file = await written(world, 40);
  let again = 0;
  await write_cache_pages(world.task(), file.mapping, wbc({ sync_mode: 'WBC_SYNC_ALL' }), async (task, folio) => {
    folio_start_writeback(task, folio);
    folio_unlock(task, folio);
    folio_end_writeback(task, folio);
    again++;
    await file.write(world.task(), (40 + again) * PAGE_SIZE, page(1));
  });
  t.equal(again, 40, 'what was dirty at the start, and no more');
  t.same(world.messages(), []);
});

t.test('a writepage that leaves the folio clean but tagged dirty is reported, and nothing is lost', async (t) => {
  const world = new World();
  const file = await written(world, 1, {
    writepage: (task, folio) => {
      folio_unlock(task, folio);
    },
  });
  await filemap_flush(world.task(), file.mapping);
  t.equal(world.violations.length, 1);
  t.equal(world.violations[0]?.kind, 'folio-state');
  t.equal(world.violations[0]?.rule, 'address_space_operations.writepage#never-clean-but-tagged-dirty');
  t.equal(world.memory.nr_dirty, 1, 'it is dirty again');
});

t.test('a writepage that returns with the folio locked is reported, and the folio unlocked', async (t) => {
  const world = new World();
  const file = await written(world, 1, {
    writepage: (task, folio) => {
      folio_start_writeback(task, folio);
      folio_end_writeback(task, folio);
    },
  });
  const task = world.task();
  await filemap_flush(task, file.mapping);
  t.ok(world.violations.some((violation) => violation.kind === 'not-released'));
  t.equal(task.held.length, 0);
  const locked = await filemap_lock_folio(world.task(), file.mapping, 0);
  t.ok(locked);
});

t.test('WRITEPAGE_ACTIVATE leaves the lock to the caller, and an unlocked folio is a violation', async (t) => {
  const world = new World();
  const file = await written(world, 1, {
    writepage: (task, folio) => {
      folio_mark_dirty(task, folio);
      return WRITEPAGE_ACTIVATE;
    },
  });
  const task = world.task();
  await filemap_flush(task, file.mapping);
  t.same(world.messages(), []);
  t.equal(task.held.length, 0);
  t.equal(world.memory.nr_dirty, 1);
  const rude = await written(world, 1, {
    writepage: (task, folio) => {
      folio_mark_dirty(task, folio);
      folio_unlock(task, folio);
      return WRITEPAGE_ACTIVATE;
    },
  });
  await filemap_flush(world.task(), rude.mapping);
  t.ok(world.violations.some((v) => v.rule === 'address_space_operations.writepage/folio/folio/activated'));
});

t.test('transitions that must not be', async (t) => {
  const world = new World();
  const file = await written(world, 1);
  const task = world.task();
  const locked = await filemap_lock_folio(task, file.mapping, 0);
  if (locked === undefined) throw new Error('no folio');
  const { folio } = locked;
  folio_end_writeback(task, folio);
  t.match(world.messages().at(-1), /not under writeback/);
  folio_clear_dirty_for_io(task, folio);
  folio_start_writeback(task, folio);
  folio_start_writeback(task, folio);
  t.match(world.messages().at(-1), /that is under writeback/);
  folio_end_writeback(task, folio);
  folio_unlock(task, folio);
  folio_clear_dirty_for_io(task, folio);
  t.match(world.messages().at(-1), /not locked/);
  folio_put(folio);
});

t.test('a failed write is told to each open file once, and to those that open later not at all', async (t) => {
  const world = new World();
  const file = await written(world, 2);
  const [a, b] = [file.open(), file.open()];
  file.behaviour = { failWrite: (index) => (index === 1 ? eio() : undefined), delay: () => 3 };
  const sync = (f: typeof a): Promise<void> => file_write_and_wait_range(world.task(), f, 0, ALL);
  await t.rejects(sync(a), { code: 'EIO' });
  t.equal(file.device.size, 1, 'the other page is written');
  await t.resolves(sync(a), 'a knows');
  const c = file.open();
  await t.rejects(sync(b), { code: 'EIO' }, 'b does not');
  await t.resolves(sync(b));
  await t.resolves(sync(c), 'c was opened after somebody was told');
  file.behaviour = {};
  await file.write(world.task(), 0, page(5));
  file.behaviour = { failWrite: () => errno('ENOSPC') };
  await t.rejects(filemap_write_and_wait_range(world.task(), file.mapping, 0, ALL), { code: 'ENOSPC' });
  await t.resolves(filemap_write_and_wait_range(world.task(), file.mapping, 0, ALL));
  await t.rejects(sync(c), { code: 'ENOSPC' });
  const late = file.open();
  await t.resolves(sync(late));
});

t.test('an error of background writeback that nobody saw is told to who opens next', async (t) => {
  const world = new World();
  const file = await written(world, 1);
  file.behaviour = { failWrite: eio };
  await filemap_flush(world.task(), file.mapping);
  const late = file.open();
  await t.rejects(file_write_and_wait_range(world.task(), late, 0, ALL), { code: 'EIO' });
});

t.test('a writepage that throws: the error is told, the folio is unlocked and still dirty', async (t) => {
  const world = new World();
  const file = await written(world, 2, {
    writepage: () => {
      throw errno('ENOSPC');
    },
  });
  const open = file.open();
  const task = world.task();
  await t.rejects(file_write_and_wait_range(task, open, 0, ALL), { code: 'ENOSPC' });
  t.equal(task.held.length, 0);
  t.equal(world.memory.nr_dirty, 2);
});

t.test('writers above the limit wait for the flusher, and not without end', async (t) => {
  let woken = 0;
  const world = new World({ limit: 100 * PAGE_SIZE });
  const bdi = new Bdi(world.memory, 'fake', () => {
    woken++;
  });
  const file = new FakeFile(world, {}, bdi);
  const { dirty_thresh, bg_thresh } = world.memory;
  let done = 0;
  const writer = (async () => {
    for (let i = 0; i < dirty_thresh + 5; i++) {
      await file.write(world.task(), i * PAGE_SIZE, page(i));
      done++;
    }
  })();
  await settle();
  t.equal(done, dirty_thresh + 1, 'the writer sleeps once the limit is passed');
  t.ok(woken > 0, 'the flusher was woken');
  t.ok(bdi.nr_dirty > bg_thresh);
  file.behaviour = { hold: true };
  await filemap_flush(world.task('flush'), file.mapping);
  await settle();
  t.equal(done, dirty_thresh + 1, 'what is under writeback counts');
  file.resume();
  await writer;
  t.equal(done, dirty_thresh + 5);
  t.equal(bdi.nr_written, dirty_thresh + 1);
});

t.test('without a flusher a writer writes its own file', async (t) => {
  const world = new World({ limit: 100 * PAGE_SIZE });
  const file = await written(world, 60);
  t.ok(world.memory.nr_dirty <= world.memory.dirty_thresh + 1);
  t.ok(file.device.size > 0);
});

t.test('only a fatal signal ends the wait of a throttled writer, and what was written counts', async (t) => {
  const world = new World({ limit: 100 * PAGE_SIZE });
  const bdi = new Bdi(world.memory, 'fake', () => undefined);
  const file = new FakeFile(world, {}, bdi);
  const task = world.task();
  let ended = false;
  const writing = Promise.resolve(file.write(task, 0, Buffer.alloc(30 * PAGE_SIZE, 1))).finally(() => {
    ended = true;
  });
  await settle();
  const before = file.mapping.nrpages;
  t.equal(before, world.memory.dirty_thresh + 1);
  task.interrupt(false);
  await settle();
  t.notOk(ended, 'a signal with a handler');
  t.equal(file.mapping.nrpages, before);
  task.interrupt();
  t.equal(await writing, before * PAGE_SIZE);
  await t.rejects(
    Promise.resolve().then(() => file.write(task, 0, Buffer.alloc(PAGE_SIZE, 1))),
    { code: 'EINTR' },
  );
});

t.test('a sync without memory sleeps as everybody does, and tries again', async (t) => {
  const world = new World();
  let tries = 0;
  const file = await written(world, 1, {
    writepages: async (task, mapping, control) => {
      if (++tries === 1) throw errno('ENOMEM');
      await write_cache_pages(task, mapping, control, async (task, folio, control) => {
        const { writepage } = file.mapping.a_ops;
        return writepage?.(task, folio, control);
      });
    },
  });
  const task = world.task();
  const sync = filemap_write_and_wait_range(task, file.mapping, 0, ALL);
  await hops(50);
  t.equal(tries, 1);
  t.equal(task.waitingFor?.what, 'memory to write with', 'a report says what it waits for');
  await sync;
  t.equal(tries, 2);
  t.same(file.stored(), page(1));
});
