/** Swap: anonymous memory under a limit goes to a file and comes back, through swap_rw or straight to the device. */

import t from 'tap';
import type { BlockDevice } from '../../src/block/block-device.js';
import { faultyDevice } from '../../src/block/faulty-device.js';
import { memoryDevice, type SparseMemory } from '../../src/block/memory-device.js';
import { do_swap_page } from '../../src/mm/fault-swap.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { folio_locked_by } from '../../src/mm/folio-state.js';
import { dup_mmap } from '../../src/mm/fork.js';
import { do_munmap, exit_mmap } from '../../src/mm/mmap.js';
import { type address_space_operations, IOCB_QUEUED } from '../../src/mm/operations.js';
import { add_swap_extent, SWP_FS_OPS } from '../../src/mm/swap-info.js';
import { swapoff, swapon } from '../../src/mm/swapfile.js';
import { MAP_ANONYMOUS, MAP_PRIVATE } from '../../src/uapi/mman.js';
import { FakeFile, World } from './fake-file.js';
import { failureOf, Process } from './process.js';

const P = PAGE_SIZE;
const ANONYMOUS = MAP_PRIVATE | MAP_ANONYMOUS;
/** Pages of memory: far fewer than the processes use. */
const LIMIT = 96;
const PAGES = 300;

function bytesOf(page: number): Buffer {
  return Buffer.alloc(P, `page ${page} `);
}

async function fill(process: Process, pages: number): Promise<number> {
  const at = await process.mmap(undefined, pages * P, ANONYMOUS);
  for (let page = 0; page < pages; page++) await process.store(at + page * P, bytesOf(page));
  return at;
}

async function wrong(process: Process, at: number, pages: number): Promise<number> {
  let count = 0;
  for (let page = 0; page < pages; page++) if (!(await process.load(at + page * P, P)).equals(bytesOf(page))) count++;
  return count;
}

/** A file whose blocks lie scattered on a device, with the operations of one of the ways to swap. */
function swapFile(world: World, bdev: BlockDevice, operations: address_space_operations): FakeFile {
  const file = new FakeFile(world, operations);
  file.i_size = 512 * P;
  t.ok(bdev.size > 0);
  return file;
}

function world(): { world: World; bdev: BlockDevice; memory: SparseMemory } {
  const made = new World({ limit: LIMIT * P });
  const bdev = memoryDevice(1 << 23, made.sched, made.validator);
  return { world: made, bdev, memory: bdev.queue.driver as SparseMemory };
}

t.test('through bmap and the device, and slots that are free cost nothing', async (t) => {
  const { world: w, bdev, memory } = world();
  const file = swapFile(w, bdev, { bmap: (_task, _mapping, block) => 16 + ((block * 7) % 512) });
  const root = w.task('swapon');
  const si = await swapon(root, w.memory, file.open(), bdev);
  t.equal(await failureOf(swapon(root, w.memory, file.open(), bdev)), 'EBUSY');
  const process = new Process(w);
  const at = await fill(process, PAGES);
  t.ok(w.memory.nr_pages <= LIMIT + LIMIT / 8, `${w.memory.nr_pages} pages of memory for ${PAGES}`);
  t.ok(si.inuse_pages >= PAGES - LIMIT - LIMIT / 8, `${si.inuse_pages} pages in swap`);
  t.equal(await wrong(process, at, PAGES), 0);
  t.equal(
    memory.storedBytes,
    [...si.swap_map].filter((count) => count > 0).length * P,
    'one block for each slot in use',
  );
  await do_munmap(process.task, process.mm, at, (PAGES * P) / 2);
  t.equal(await wrong(process, at + PAGES * P, 0), 0);
  await exit_mmap(process.task, process.mm);
  for (const [, folio] of si.cache) t.equal(folio.mapcount, 0);
  await swapoff(root, w.memory, si);
  t.equal(si.inuse_pages, 0);
  t.equal(memory.storedBytes, 0, 'swap_slot_free_notify has given every block back');
  t.equal(w.memory.pool.used, 0);
  t.same(w.messages(), []);
});

t.test('through swap_rw, in both forms of completion, with swap_activate and swap_deactivate', async (t) => {
  for (const queued of [false, true]) {
    const { world: w, bdev } = world();
    const calls: string[] = [];
    const blocks = new Map<number, Buffer>();
    const file = swapFile(w, bdev, {
      swap_activate: (_task, sis) => {
        calls.push('activate');
        sis.flags |= SWP_FS_OPS;
        return 0;
      },
      swap_deactivate: () => void calls.push('deactivate'),
      swap_rw: (task, iocb, iter) => {
        const slot = iocb.ki_pos / P;
        const { count } = iter;
        const move = (): void => {
          if (iter.source !== undefined) blocks.set(slot, Buffer.from(iter.take(count)));
          else iter.addBytes(blocks.get(slot) ?? Buffer.alloc(P));
        };
        if (!queued) {
          move();
          return count;
        }
        file.submit(task, (completion) => {
          move();
          iocb.ki_complete?.(completion, count);
        });
        return IOCB_QUEUED;
      },
    });
    file.behaviour = { delay: () => 3 };
    const root = w.task('swapon');
    const si = await swapon(root, w.memory, file.open());
    const process = new Process(w);
    const at = await fill(process, PAGES);
    t.ok(blocks.size > 0, 'pages went through swap_rw');
    t.equal(await wrong(process, at, PAGES), 0, queued ? 'queued' : 'at once');
    await do_munmap(process.task, process.mm, at + 30 * P, (PAGES - 30) * P);
    await swapoff(root, w.memory, si);
    t.equal(await wrong(process, at, 30), 0, 'after swapoff everything is in memory');
    t.same(calls, ['activate', 'deactivate']);
    await exit_mmap(process.task, process.mm);
    t.equal(w.memory.pool.used, 0);
    t.same(w.messages(), []);
  }
});

t.test('swap_activate that adds extents', async (t) => {
  const { world: w, bdev } = world();
  const file = swapFile(w, bdev, {
    swap_activate: (_task, sis) => {
      let extents = 0;
      for (let page = 0; page < 400; page += 100) extents += add_swap_extent(sis, page, 100, 2000 - page * 2);
      return extents;
    },
  });
  const root = w.task('swapon');
  const si = await swapon(root, w.memory, file.open(), bdev);
  t.equal(si.extents.length, 4);
  t.equal(si.max, 400, 'what no extent covers is not used');
  t.equal(si.blockOf(101), 1801);
  t.throws(() => add_swap_extent(si, 500, 1, 1), /follow/);
  const process = new Process(w);
  const at = await fill(process, PAGES);
  t.equal(await wrong(process, at, PAGES), 0);
  await exit_mmap(process.task, process.mm);
  await swapoff(root, w.memory, si);
  t.same(w.messages(), []);
});

t.test('a child and its parent share what is in swap', async (t) => {
  const { world: w, bdev } = world();
  const file = swapFile(w, bdev, { bmap: (_task, _mapping, block) => 1 + block });
  const root = w.task('swapon');
  const si = await swapon(root, w.memory, file.open(), bdev);
  const parent = new Process(w);
  const at = await fill(parent, 200);
  const child = new Process(w, await dup_mmap(parent.task, parent.mm));
  await child.store(at, 'child');
  t.equal((await parent.load(at, 6)).toString(), 'page 0');
  t.equal(await wrong(child, at + P, 0), 0);
  for (let page = 1; page < 200; page++) {
    if (!(await child.load(at + page * P, P)).equals(bytesOf(page))) t.fail(`page ${page}`);
  }
  await exit_mmap(parent.task, parent.mm);
  t.equal((await child.load(at, 5)).toString(), 'child');
  for (let page = 1; page < 200; page++) {
    if (!(await child.load(at + page * P, P)).equals(bytesOf(page))) t.fail(`page ${page} without the parent`);
  }
  await exit_mmap(child.task, child.mm);
  await swapoff(root, w.memory, si);
  t.equal(si.inuse_pages, 0);
  t.equal(w.memory.pool.used, 0);
  t.same(w.messages(), []);
});

t.test('errors of the device: a page that cannot be written stays, one that cannot be read is SIGBUS', async (t) => {
  const { world: w, bdev } = world();
  let failing: 'read' | 'write' | undefined = 'write';
  const faulty = faultyDevice(bdev, ({ op }) => (op === failing ? { error: 'EIO' } : undefined), w.sched, w.validator);
  const file = swapFile(w, faulty, { bmap: (_task, _mapping, block) => 1 + block });
  const root = w.task('swapon');
  const si = await swapon(root, w.memory, file.open(), faulty);
  const process = new Process(w);
  const at = await process.mmap(undefined, PAGES * P, ANONYMOUS);
  let full = 0;
  for (; full < PAGES; full++) {
    if ((await failureOf(process.store(at + full * P, bytesOf(full)))) !== 'none') break;
  }
  t.ok(full >= LIMIT / 2 && full < PAGES, `memory is full after ${full} pages that cannot be swapped out`);
  t.equal(await wrong(process, at, full), 0, 'none was lost');
  failing = undefined;
  for (let page = full; page < PAGES; page++) await process.store(at + page * P, bytesOf(page));
  failing = 'read';
  let bus = 0;
  for (let page = 0; page < PAGES; page++) if ((await failureOf(process.load(at + page * P, 1))) === 'SIGBUS') bus++;
  t.ok(bus > 0, `${bus} pages cannot be read`);
  t.equal(await failureOf(swapoff(root, w.memory, si)), 'EIO', 'and swapoff says so');
  failing = undefined;
  t.equal(await wrong(process, at, PAGES), 0, 'they can again when the device can');
  await exit_mmap(process.task, process.mm);
  await swapoff(root, w.memory, si);
  t.same(w.messages(), []);
});

t.test('who comes late to a page that somebody else has brought in leaves the slot alone', async (t) => {
  const { world: w, bdev } = world();
  const file = swapFile(w, bdev, { bmap: (_task, _mapping, block) => 16 + block });
  const root = w.task('swapon');
  const si = await swapon(root, w.memory, file.open(), bdev);
  const process = new Process(w);
  const at = await fill(process, PAGES);
  const vma = process.mm.vma_lookup(at);
  const vpn = at / P;
  const pte = process.mm.pgd.pte(vpn);
  if (vma === undefined || pte?.swap === undefined) throw new Error('it is not in swap');
  const { slot } = pte.swap;
  await process.load(at, 1);
  t.equal(si.swap_map[slot], 0);
  const before = si.inuse_pages;
  using _mmap = await process.mm.mmap_lock.read(root);
  t.equal(await do_swap_page(root, vma, vpn, pte, false), 0);
  t.equal(si.swap_map[slot], 0);
  t.equal(si.cache.has(slot), false);
  t.ok(si.inuse_pages >= before);
  t.same(w.messages(), []);
});

t.test('what swapon refuses', async (t) => {
  const { world: w, bdev } = world();
  const root = w.task('swapon');
  const holes = swapFile(w, bdev, { bmap: (_task, _mapping, block) => (block === 5 ? 0 : 1 + block) });
  t.equal(await failureOf(swapon(root, w.memory, holes.open(), bdev)), 'EINVAL', 'a hole');
  const mute = swapFile(w, bdev, {});
  t.equal(await failureOf(swapon(root, w.memory, mute.open(), bdev)), 'EINVAL', 'neither swap_activate nor bmap');
  mute.i_size = P;
  t.equal(await failureOf(swapon(root, w.memory, mute.open(), bdev)), 'EINVAL', 'too short');
  const empty = swapFile(w, bdev, { swap_activate: () => 0 });
  t.equal(await failureOf(swapon(root, w.memory, empty.open(), bdev)), 'EINVAL', 'no extents');
  t.equal(w.memory.swap.size, 0);
  t.same(w.messages(), []);
});

t.test('planted: swap_rw that unlocks the page itself', async (t) => {
  const { world: w, bdev } = world();
  const file = swapFile(w, bdev, {
    swap_activate: (_task, sis) => {
      sis.flags |= SWP_FS_OPS;
      return 0;
    },
    swap_rw: (task, _iocb, iter) => {
      const { count } = iter;
      iter.take(count);
      for (const area of w.memory.swap) {
        for (const folio of area.cache.values()) if (folio_locked_by(task, folio)) folio.lock.unlock(task);
      }
      return count;
    },
  });
  const root = w.task('swapon');
  await swapon(root, w.memory, file.open());
  const process = new Process(w);
  await fill(process, 110);
  t.ok(
    w.violations.some(({ kind }) => kind === 'unlock-not-owner'),
    'the second unlock is reported',
  );
});
