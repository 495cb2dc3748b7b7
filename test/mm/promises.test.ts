/** Every promise about pages in the document's prose, broken on purpose: the report names the rule, and nothing is lost. */
import t from 'tap';
import { sb_bread } from '../../src/block/buffer-cache.js';
import { memoryDevice } from '../../src/block/memory-device.js';
import { folio_attach_buffers } from '../../src/mm/buffers.js';
import { filemap_remove_folio } from '../../src/mm/filemap.js';
import { file_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { type Folio, folio_get, folio_put, PAGE_SIZE } from '../../src/mm/folio.js';
import { folio_clear_dirty_for_io } from '../../src/mm/folio-clean.js';
import { fields_of, tree_of } from '../../src/mm/folio-fields.js';
import { call_release_folio, call_release_folio_nowait, folio_invalidate } from '../../src/mm/folio-promises.js';
import {
  folio_end_writeback,
  folio_mark_dirty,
  folio_redirty_for_writepage,
  folio_start_writeback,
  folio_unlock,
  folio_wait_writeback,
} from '../../src/mm/folio-state.js';
import { invalidate_inode_pages2_range, invalidate_mapping_pages } from '../../src/mm/invalidate.js';
import { type address_space_operations, WRITEPAGE_ACTIVATE, type WritebackControl } from '../../src/mm/operations.js';
import { do_writepages, write_cache_pages } from '../../src/mm/page-writeback.js';
import { truncate_inode_pages_range } from '../../src/mm/truncate.js';
import { shrink_node } from '../../src/mm/vmscan.js';
import { check_all_waited } from '../../src/mm/writepages-check.js';
import { errno } from '../../src/sched/errno.js';
import type { Task } from '../../src/sched/task.js';
import { FakeFile, hops, settle, World } from './fake-file.js';
import { failureOf, TestVmFile } from './process.js';

const P = PAGE_SIZE;
const OPS = 'address_space_operations.';

interface Planted {
  readonly world: World;
  readonly file: FakeFile;
  readonly folio: Folio;
}

/** A file of two dirty pages with a bug in its operations. */
async function planted(extra: address_space_operations = {}, pages = 2): Promise<Planted> {
  const world = new World();
  const file = new FakeFile(world, extra);
  await file.write(world.task('writer'), 0, Buffer.alloc(pages * P, 'd'));
  const folio = file.mapping.i_pages.load(0);
  if (folio === undefined) throw new Error('not cached');
  return { world, file, folio };
}

function wbcOf(sync_mode: WritebackControl['sync_mode'], nr_to_write = Number.POSITIVE_INFINITY): WritebackControl {
  return { sync_mode, nr_to_write, range_start: 0, range_end: Number.POSITIVE_INFINITY, pages_skipped: 0 };
}

/** The rules that were reported, each once. */
function rules(world: World): string[] {
  return [...new Set(world.violations.map(({ rule }) => rule.replace(OPS, '')))];
}

/** Write with a planted writepage, and give the rules that it broke. */
async function writing(
  writepage: NonNullable<address_space_operations['writepage']>,
  mode: WritebackControl['sync_mode'] = 'WBC_SYNC_ALL',
): Promise<Planted & { broken: string[] }> {
  const made = await planted({ writepage });
  await do_writepages(made.world.task('flush'), made.file.mapping, wbcOf(mode));
  return { ...made, broken: rules(made.world) };
}

t.test('writepage: it begins no I/O in a sync', async (t) => {
  const { broken, folio } = await writing((task, folio, wbc) => {
    folio_redirty_for_writepage(task, wbc, folio);
    folio_unlock(task, folio);
  });
  t.same(broken, ['writepage#sync-starts-io']);
  t.ok(folio.dirty);
  const fine = await writing((task, folio, wbc) => {
    folio_redirty_for_writepage(task, wbc, folio);
    folio_unlock(task, folio);
  }, 'WBC_SYNC_NONE');
  t.same(fine.broken, [], 'to clean memory it may');
});

t.test('writepage: it does not wait for I/O under way', async (t) => {
  const { world, file, folio } = await planted();
  const task = world.task('flush');
  await folio.lock.lock(task);
  folio_clear_dirty_for_io(task, folio);
  folio_start_writeback(task, folio);
  folio_start_writeback(task, folio);
  t.same(rules(world), ['writepage#sync-waits-for-in-progress-io']);
  folio_unlock(task, folio);
  folio_end_writeback(task, folio);
  t.equal(file.mapping.i_pages.marked('writeback'), false);
});

t.test('writepage: it waits though it is to clean memory', async (t) => {
  const made = await planted();
  const task = made.world.task('flush');
  let other: Folio | undefined;
  const planting = await planted({
    writepage: async (task, folio, _wbc) => {
      if (other !== undefined) await folio_wait_writeback(task, other);
      folio_start_writeback(task, folio);
      folio_unlock(task, folio);
      folio_end_writeback(task, folio);
    },
  });
  other = planting.file.mapping.i_pages.load(1);
  if (other === undefined) throw new Error('not cached');
  const starter = planting.world.task('other');
  await other.lock.lock(starter);
  folio_clear_dirty_for_io(starter, other);
  folio_start_writeback(starter, other);
  folio_unlock(starter, other);
  const slow = do_writepages(planting.world.task('flush'), planting.file.mapping, wbcOf('WBC_SYNC_NONE'));
  await hops(20);
  t.same(rules(planting.world), ['writepage#cleansing-avoids-blocking']);
  folio_end_writeback(starter, other);
  await slow;
  t.equal(task.writepage_mode, undefined);
});

t.test('writepage: it unlocks the page before it begins the writeback', async (t) => {
  const { broken } = await writing((task, folio) => {
    folio_unlock(task, folio);
    folio_start_writeback(task, folio);
    folio_end_writeback(task, folio);
  });
  t.same(broken, ['writepage#writeback-before-unlock']);
});

t.test('writepage: it keeps the page locked', async (t) => {
  const { broken, folio } = await writing((task, folio) => {
    folio_start_writeback(task, folio);
    folio_end_writeback(task, folio);
  });
  t.ok(broken.includes('writepage/folio/folio/written'), broken.join(' '));
  t.equal(folio.lock.locked, false, 'and it is unlocked all the same');
});

t.test('writepage: WRITEPAGE_ACTIVATE with the page unlocked', async (t) => {
  const { broken } = await writing((task, folio, wbc) => {
    folio_redirty_for_writepage(task, wbc, folio);
    folio_unlock(task, folio);
    return WRITEPAGE_ACTIVATE;
  }, 'WBC_SYNC_NONE');
  t.same(broken, ['writepage/folio/folio/activated']);
});

t.test('writepage: after WRITEPAGE_ACTIVATE it is left alone', async (t) => {
  let calls = 0;
  const { world, folio } = await planted(
    {
      writepage: (task, folio, wbc) => {
        folio_redirty_for_writepage(task, wbc, folio);
        if (folio.index > 0) return folio_unlock(task, folio);
        calls++;
        return WRITEPAGE_ACTIVATE;
      },
    },
    20,
  );
  const task = world.task('kswapd');
  const shrink = async (): Promise<void> => {
    for (const folio of world.memory.inactive.all()) folio.referenced = false;
    await shrink_node(task, world.memory, 32, 0);
  };
  for (let i = 0; i < 3; i++) await shrink();
  t.equal(calls, 1);
  t.equal(folio.lru, world.memory.active, 'it is at the head of the active list');
  t.same(rules(world), []);
  // A reclaim that forgets what it was told.
  folio.lru?.remove(folio);
  world.memory.inactive.addHead(folio);
  await shrink();
  t.same(rules(world), ['writepage#activate-stops-further-calls']);
});

t.test('writepage: neither dirtied again nor written', async (t) => {
  const { broken, folio } = await writing((task, folio) => folio_unlock(task, folio));
  t.same(broken, ['writepage#never-clean-but-tagged-dirty']);
  t.ok(folio.dirty, 'it is dirty again, so that its bytes are not lost');
});

t.test('writepage: it begins a writeback that nobody will end', async (t) => {
  const { broken, file, world } = await writing((task, folio) => {
    folio_start_writeback(task, folio);
    folio_unlock(task, folio);
  });
  t.same(broken, ['writepage#no-io-ends-writeback']);
  t.equal(file.mapping.i_pages.marked('writeback'), false, 'who waits for it does not wait for ever');
  const open = new TestVmFile(file);
  t.equal(await failureOf(file_write_and_wait_range(world.task(), open, 0, P)), 'EIO', 'and hears of it');
});

t.test('writepage: the completion ends the writeback twice', async (t) => {
  const { broken } = await writing((task, folio) => {
    folio_start_writeback(task, folio);
    folio_unlock(task, folio);
    folio_end_writeback(task, folio);
    folio_end_writeback(task, folio);
  });
  t.same(broken, ['writepage#completion-ends-writeback']);
});

t.test('writepages: it counts nothing, or too much', async (t) => {
  for (const counted of [0, 5]) {
    const { world, file } = await planted({
      writepages: async (task, mapping, wbc) => {
        const own = wbcOf('WBC_SYNC_NONE', 2);
        await write_cache_pages(task, mapping, own, (task, folio) => {
          folio_start_writeback(task, folio);
          folio_unlock(task, folio);
          folio_end_writeback(task, folio);
        });
        wbc.nr_to_write -= counted;
      },
    });
    await do_writepages(world.task('flush'), file.mapping, wbcOf('WBC_SYNC_NONE', 10));
    t.same(rules(world), ['writepages#accounts-each-page'], `${counted} of 2`);
  }
});

t.test('writepages: it does nothing, or leaves a page in a sync', async (t) => {
  const idle = await planted({ writepages: () => undefined });
  await do_writepages(idle.world.task('flush'), idle.file.mapping, wbcOf('WBC_SYNC_NONE', 10));
  t.same(rules(idle.world), ['writepages#starts-nr_to_write']);
  const lazy = await planted({
    writepages: (task, mapping) =>
      write_cache_pages(task, mapping, wbcOf('WBC_SYNC_NONE', 1), (task, folio) => {
        folio_start_writeback(task, folio);
        folio_unlock(task, folio);
        folio_end_writeback(task, folio);
      }),
  });
  await do_writepages(lazy.world.task('flush'), lazy.file.mapping, wbcOf('WBC_SYNC_ALL'));
  t.same(rules(lazy.world), ['writepages#without-nr_to_write-writes-all']);
});

t.test('writepages: a sync passes by a page that is locked, or under writeback', async (t) => {
  const write = (task: Task, folio: Folio): void => {
    folio_clear_dirty_for_io(task, folio);
    folio_start_writeback(task, folio);
    folio_unlock(task, folio);
    folio_end_writeback(task, folio);
  };
  const { world, file } = await planted({
    writepages: async (task, mapping) => {
      for (const folio of mapping.i_pages.collect(0, 10, 10, 'dirty')) {
        if (folio.lock.locked || folio.writeback.isSet) continue;
        await folio.lock.lock(task);
        write(task, folio);
      }
      // Another page is dirtied meanwhile: that excuses nothing.
      await file.write(world.task('writer'), 5 * P, Buffer.alloc(P, 'n'));
    },
  });
  const [flush, holder] = [world.task('flush'), world.task('holder')];
  const second = file.mapping.i_pages.load(1);
  if (second === undefined) throw new Error('not cached');
  const held = await second.lock.lock(holder);
  await do_writepages(flush, file.mapping, wbcOf('WBC_SYNC_ALL'));
  t.same(rules(world), ['writepages#without-nr_to_write-writes-all']);
  held.release();
  world.violations.length = 0;
  await do_writepages(flush, file.mapping, wbcOf('WBC_SYNC_ALL'));
  t.same(rules(world), [], 'what was dirtied meanwhile is for the next sync');
  const third = file.mapping.i_pages.load(5);
  if (third === undefined) throw new Error('not cached');
  await third.lock.lock(holder);
  folio_clear_dirty_for_io(holder, third);
  folio_start_writeback(holder, third);
  folio_mark_dirty(holder, third);
  folio_unlock(holder, third);
  await do_writepages(flush, file.mapping, wbcOf('WBC_SYNC_ALL'));
  t.same(rules(world), ['writepages#without-nr_to_write-writes-all']);
  folio_end_writeback(holder, third);
});

t.test('a sync that does not wait for what it writes', async (t) => {
  const { world, file, folio } = await planted();
  const flush = world.task('flush');
  const { nr_dirtied } = file.mapping;
  await folio.lock.lock(flush);
  folio_clear_dirty_for_io(flush, folio);
  folio_start_writeback(flush, folio);
  folio_unlock(flush, folio);
  check_all_waited(flush, file.mapping, 0, 10 * P, nr_dirtied);
  t.same(rules(world), ['sync#waits-for-what-it-writes']);
  world.violations.length = 0;
  check_all_waited(flush, file.mapping, P, 10 * P, nr_dirtied);
  check_all_waited(flush, file.mapping, 0, 10 * P, 0);
  t.same(rules(world), [], 'not of what lies elsewhere, or was dirtied later');
  const open = new TestVmFile(file);
  const syncing = file_write_and_wait_range(flush, open, 0, P);
  await hops(20);
  folio_end_writeback(flush, folio);
  await syncing;
  t.same(rules(world), [], 'one that waits is right');
});

t.test('writepages: it does not count a page whose write has failed', async (t) => {
  for (const counts of [true, false]) {
    const { world, file } = await planted({
      writepages: async (task, mapping, wbc) => {
        const own = wbcOf('WBC_SYNC_NONE', 2);
        try {
          await write_cache_pages(task, mapping, own, (task, folio) => {
            folio_start_writeback(task, folio);
            folio_unlock(task, folio);
            folio_end_writeback(task, folio, errno('EIO'));
            throw errno('EIO');
          });
        } finally {
          if (counts) wbc.nr_to_write--;
        }
      },
    });
    const failing = do_writepages(world.task('flush'), file.mapping, wbcOf('WBC_SYNC_NONE', 10));
    t.equal(await failureOf(failing), 'EIO');
    t.same(rules(world), counts ? [] : ['writepages#accounts-each-page']);
  }
});

t.test('writepages: it writes a page that is not dirty', async (t) => {
  const { world, file } = await planted({
    writepages: async (task, mapping) => {
      for (const folio of mapping.i_pages.collect(0, 10, 10)) {
        await folio.lock.lock(task);
        folio_clear_dirty_for_io(task, folio);
        folio_start_writeback(task, folio);
        folio_unlock(task, folio);
        folio_end_writeback(task, folio);
      }
    },
  });
  const task = world.task('flush');
  await do_writepages(task, file.mapping, wbcOf('WBC_SYNC_ALL'));
  t.same(rules(world), []);
  await file.write(task, 0, Buffer.alloc(P, 'x'));
  await do_writepages(task, file.mapping, wbcOf('WBC_SYNC_ALL'));
  t.same(rules(world), ['writepages#only-pages-up-for-io']);
});

t.test('release_folio: true, and the data are still there', async (t) => {
  const { world, file, folio } = await planted({ release_folio: () => true });
  const task = world.task();
  await do_writepages(task, file.mapping, wbcOf('WBC_SYNC_ALL'));
  folio.private = {};
  await invalidate_mapping_pages(task, file.mapping, 0, 10);
  t.same(rules(world), ['release_folio#true-means-gone']);
  t.equal(file.mapping.i_pages.load(0), folio, 'the page stays');
});

t.test('release_folio: called under writeback, or waiting though it may not', async (t) => {
  const { world, folio } = await planted({
    release_folio: async (_task, folio) => {
      await undefined;
      folio.private = undefined;
      return true;
    },
  });
  const task = world.task();
  await folio.lock.lock(task);
  folio.private = {};
  t.throws(() => call_release_folio_nowait(task, folio), { code: 'EIO' });
  t.same(rules(world), ['release_folio#gfp-limits-the-effort']);
  await settle();
  world.violations.length = 0;
  folio_clear_dirty_for_io(task, folio);
  folio_start_writeback(task, folio);
  t.equal(call_release_folio(task, folio, 'GFP_KERNEL'), false);
  t.same(rules(world), ['release_folio#not-under-writeback']);
  folio_end_writeback(task, folio);
  folio_unlock(task, folio);
});

t.test('release_folio: without it the private data are buffers', async (t) => {
  const { world, file, folio } = await planted();
  const task = world.task();
  const bdev = memoryDevice(1 << 20, world.sched, world.validator);
  const bh = await sb_bread(task, bdev, 3);
  folio_attach_buffers(folio, [bh]);
  await do_writepages(task, file.mapping, wbcOf('WBC_SYNC_ALL'));
  await invalidate_mapping_pages(task, file.mapping, 0, 0);
  t.equal(file.mapping.i_pages.load(0), folio, 'a buffer that is in use keeps the page');
  bdev.buffers.put(bh);
  await invalidate_mapping_pages(task, file.mapping, 0, 0);
  t.equal(file.mapping.i_pages.load(0), undefined);
  t.equal(bh.b_count, 0);
  t.same(world.messages(), []);
});

t.test('launder_folio: success with a dirty page, and a page unlocked in between', async (t) => {
  const dirty = await planted({ launder_folio: () => undefined });
  t.equal(await failureOf(invalidate_inode_pages2_range(dirty.world.task(), dirty.file.mapping, 0, 0)), 'EBUSY');
  t.same(rules(dirty.world), ['launder_folio#zero-means-clean']);
  const unlocked = await planted({
    launder_folio: async (task, folio) => {
      folio_clear_dirty_for_io(task, folio);
      folio_start_writeback(task, folio);
      folio_unlock(task, folio);
      folio_end_writeback(task, folio);
      await folio.lock.lock(task);
    },
  });
  await invalidate_inode_pages2_range(unlocked.world.task(), unlocked.file.mapping, 0, 0);
  t.ok(rules(unlocked.world).includes('launder_folio#locked-throughout'), rules(unlocked.world).join(' '));
});

t.test('invalidate_folio: the whole page goes and its data stay', async (t) => {
  const { world, file, folio } = await planted({ invalidate_folio: () => undefined });
  folio.private = {};
  const task = world.task();
  using held = await file.mapping.invalidate_lock.write(task);
  await truncate_inode_pages_range(task, file.mapping, 100, 2 * P - 1, held);
  t.same(rules(world), [], 'a part of it may');
  await truncate_inode_pages_range(task, file.mapping, 0, 2 * P - 1, held);
  t.same(rules(world), ['invalidate_folio#drops-what-the-range-covers']);
});

t.test('invalidate_folio: truncation waits for the writeback of what it cuts', async (t) => {
  const calls: string[] = [];
  const { world, file, folio } = await planted({
    invalidate_folio: (_task, folio, offset) => {
      calls.push(`${folio.index} from ${offset}${folio.writeback.isSet ? ' under writeback' : ''}`);
      if (offset === 0) folio.private = undefined;
    },
  });
  const [task, flush] = [world.task(), world.task('flush')];
  const second = file.mapping.i_pages.load(1);
  if (second === undefined) throw new Error('not cached');
  for (const one of [folio, second]) {
    one.private = {};
    await one.lock.lock(flush);
    folio_clear_dirty_for_io(flush, one);
    folio_start_writeback(flush, one);
    folio_unlock(flush, one);
  }
  const held = await file.mapping.invalidate_lock.write(task);
  const cutting = truncate_inode_pages_range(task, file.mapping, 100, 2 * P - 1, held);
  await hops(20);
  t.same(calls, [], 'it waits');
  for (const one of [folio, second]) folio_end_writeback(flush, one);
  await cutting;
  t.same(calls, ['0 from 100', '1 from 0']);
  t.same(world.messages(), []);
  await folio.lock.lock(task);
  folio_mark_dirty(task, folio);
  folio_start_writeback(task, folio);
  await folio_invalidate(task, file.mapping, folio, 0, 100, true);
  t.match(world.messages(), [/goes away while it is under writeback/]);
  folio_end_writeback(task, folio);
  folio_unlock(task, folio);
  held.release();
});

t.test('free_folio: it puts the page back', async (t) => {
  const { world, file, folio } = await planted({
    free_folio: (_task, folio) => {
      fields_of(folio).mapping = file_.mapping;
      tree_of(file_.mapping).store(folio);
    },
  });
  const file_ = file;
  const task = world.task();
  folio_get(folio);
  await folio.lock.lock(task);
  filemap_remove_folio(task, folio);
  folio_unlock(task, folio);
  t.same(rules(world), ['free_folio#already-out-of-the-cache']);
  t.equal(file.mapping.i_pages.load(0), undefined);
  folio_put(folio);
});
