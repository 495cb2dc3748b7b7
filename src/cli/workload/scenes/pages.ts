/** Scenes of pages that somebody has locked when others come: who only tries for a lock goes by, who needs it waits. */

import { brelse, mark_buffer_dirty, wait_on_buffer } from '../../../block/buffer.js';
import { sb_breadahead, sb_getblk } from '../../../block/buffer-cache.js';
import { start_writeback, write_dirty_buffers } from '../../../block/buffer-writeback.js';
import { DROP_PAGECACHE, drop_caches } from '../../../fs/drop-caches.js';
import type { Inode } from '../../../fs/inode.js';
import type { SuperBlock } from '../../../fs/super-block.js';
import { sync_filesystem } from '../../../fs/sync.js';
import type { Syscalls } from '../../../fs/syscalls.js';
import { file_aops } from '../../../latch/file.js';
import type { Exclusive } from '../../../locking/held.js';
import { fs_reclaim } from '../../../locking/lock-map.js';
import { compact_memory } from '../../../mm/compaction.js';
import { folio_clear_uptodate, folio_end_writeback, folio_start_writeback, folio_unlock } from '../../../mm/filemap.js';
import { Folio, folio_get, folio_put, PAGE_SIZE } from '../../../mm/folio.js';
import { type MigrateMode, migrate_one } from '../../../mm/migrate.js';
import { unmap_mapping_folio } from '../../../mm/rmap.js';
import { shrink_anon } from '../../../mm/swap-reclaim.js';
import { shrink_node } from '../../../mm/vmscan.js';
import { errno } from '../../../sched/errno.js';
import { O_RDWR } from '../../../uapi/fcntl.js';
import { MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../../uapi/mman.js';
import { create, type Scene, said, sum } from './scene.js';
import { kthread, onSlow } from './slow.js';

const RW = PROT_READ | PROT_WRITE;
/** Turns in which everybody gets as far as without the lock. */
const TURNS = 12;

async function turns(sb: SuperBlock, count = TURNS): Promise<void> {
  for (let i = 0; i < count; i++) await sb.sched.yield();
}

/** An inode that is in memory. */
async function inodeAt(sys: Syscalls, sb: SuperBlock, path: string): Promise<Inode> {
  const inode = sb.inodeHash.get((await sys.stat(path)).ino);
  if (inode === undefined) throw new Error(`${path} is not in memory`);
  return inode;
}

function pageOf(inode: Inode, index: number): Folio {
  const folio = inode.i_mapping.i_pages.load(index);
  if (folio === undefined) throw new Error(`page ${index} is not in memory`);
  return folio;
}

/** Call `body` while another task has locked a page, which it gives back when all that can be done without it is done. */
async function whileLocked<T>(sb: SuperBlock, folio: Folio, body: () => Promise<T>): Promise<T> {
  const held = await folio.lock.lock(kthread(sb, 'holder'));
  const result = body();
  await turns(sb);
  held.release();
  return await result;
}

/** One pass of reclaim over everything, by which what is in use is passed once and taken the second time. */
async function reclaim(sb: SuperBlock): Promise<void> {
  const task = kthread(sb, 'kswapd');
  const { memory } = sb.machine;
  const inside = fs_reclaim.enter(task);
  for (let pass = 0; pass < 2; pass++) await shrink_node(task, memory, memory.nr_pages, 0);
  inside.release();
}

export const PAGES: readonly Scene[] = [
  {
    name: 'a locked page: written, and synced',
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/f', 8 * PAGE_SIZE);
      const second = await other.open('/f', O_RDWR);
      const inode = await inodeAt(sys, sb, '/f');
      const { i_pages } = inode.i_mapping;
      const synced = await whileLocked(sb, pageOf(inode, 1), async () => {
        await sys.fsync(fd);
        return i_pages.marked('dirty');
      });
      await sys.pwrite(fd, Buffer.alloc(3 * PAGE_SIZE, 'b'), 0);
      const all = await whileLocked(sb, pageOf(inode, 2), async () => {
        await sync_filesystem(kthread(sb, 'sync'), sb);
        return i_pages.marked('dirty');
      });
      const wrote = await whileLocked(sb, pageOf(inode, 3), () =>
        other.pwrite(second, Buffer.from('x'), 3 * PAGE_SIZE),
      );
      return [synced, all, wrote, sum(await sys.pread(fd, 8 * PAGE_SIZE, 0))];
    },
  },
  {
    name: 'a locked page: read, mapped, dropped, moved',
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/f', 8 * PAGE_SIZE);
      await sys.fsync(fd);
      const inode = await inodeAt(sys, sb, '/f');
      const bad = pageOf(inode, 0);
      // Its read has failed; whoever reads it again finds the cache locked, and then the page.
      folio_clear_uptodate(bad);
      const holder = kthread(sb, 'holder');
      const invalidate = await inode.i_mapping.invalidate_lock.write(holder);
      const reading = sys.pread(fd, 10, 0);
      await turns(sb);
      const held = await bad.lock.lock(kthread(sb, 'another'));
      invalidate.release();
      await turns(sb);
      held.release();
      const read = (await reading).toString();
      const at = await other.mmap(0, 8 * PAGE_SIZE, PROT_READ, MAP_SHARED, await other.open('/f', O_RDWR));
      const mapped = await whileLocked(sb, pageOf(inode, 1), () => other.load(at, 5));
      await other.munmap(at, 8 * PAGE_SIZE);
      const kept = pageOf(inode, 2);
      await whileLocked(sb, kept, () => drop_caches(kthread(sb, 'drop_caches'), sb, DROP_PAGECACHE));
      const left = [inode.i_mapping.i_pages.load(2) === kept, inode.i_mapping.nrpages];
      await whileLocked(sb, kept, () => compact_memory(kthread(sb, 'kcompactd'), sb.memory, 'MIGRATE_ASYNC'));
      await whileLocked(sb, kept, () => reclaim(sb));
      return [read, mapped.toString(), left, inode.i_mapping.i_pages.load(2) === kept, sum(await sys.pread(fd, 99, 0))];
    },
  },
  {
    name: 'a locked page: of a file that goes',
    run: async (sys, _other, sb) => {
      const fd = await create(sys, '/f', 4 * PAGE_SIZE);
      const inode = await inodeAt(sys, sb, '/f');
      await sys.unlink('/f');
      const cut = await whileLocked(sb, pageOf(inode, 1), () => sys.ftruncate(fd, 3 * PAGE_SIZE));
      await whileLocked(sb, pageOf(inode, 2), () => sys.close(fd));
      return [cut, sb.inodeHash.has(inode.i_ino)];
    },
  },
  {
    name: 'a page that is locked when it is to move',
    lends: true,
    run: (_sys, _other, sb) =>
      onSlow(sb, async (sys, _another, slow) => {
        const fd = await create(sys, '/f', 2 * PAGE_SIZE);
        await sys.fsync(fd);
        const inode = await inodeAt(sys, slow, '/f');
        const folio = pageOf(inode, 1);
        const moved = await whileLocked(slow, folio, () => move(slow, folio, 'MIGRATE_ASYNC'));
        // A filesystem that cannot move pages: what is dirty is written first, and somebody locks it then.
        const { migrate_folio: _moves, ...others } = file_aops;
        inode.a_ops = others;
        await sys.pwrite(fd, Buffer.from('dirty'), PAGE_SIZE);
        const moving = move(slow, folio, 'MIGRATE_SYNC');
        const held = await lockedInWriteback(slow, folio);
        const late = await moving;
        held.release();
        return [moved, late, sum(await sys.pread(fd, 2 * PAGE_SIZE, 0))];
      }),
  },
  {
    name: 'a page that is locked when it was written for reclaim',
    run: async (sys, _other, sb) => {
      const fd = await create(sys, '/f', PAGE_SIZE);
      const folio = pageOf(await inodeAt(sys, sb, '/f'), 0);
      const { inactive } = sb.machine.memory;
      folio.referenced = false;
      folio.lru?.remove(folio);
      inactive.addTail(folio);
      const task = kthread(sb, 'kswapd');
      const inside = fs_reclaim.enter(task);
      const shrinking = shrink_node(task, sb.machine.memory, 1, 0);
      const held = await folio.lock.lock(kthread(sb, 'holder'));
      await turns(sb);
      held.release();
      await shrinking;
      inside.release();
      return [folio.dirty, (await sys.pread(fd, 5, 0)).toString()];
    },
  },
  {
    name: 'a page that is locked when it was swapped out',
    run: (_sys, _other, sb) =>
      onSlow(sb, async (sys, _another, slow) => {
        const swap = await create(sys, '/swap', 64 * PAGE_SIZE);
        await sys.fsync(swap);
        await sys.swapon(swap);
        const at = await sys.mmap(0, 4 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        await sys.store(at, Buffer.alloc(4 * PAGE_SIZE, 'm'));
        const folio = [...slow.memory.inactive.all()].find(({ anon }) => anon !== undefined);
        if (folio === undefined) return 'no anonymous page';
        folio.referenced = false;
        folio_get(folio);
        const task = kthread(slow, 'kswapd');
        await folio.lock.lock(task);
        const swapping = shrink_anon(task, folio);
        const held = await folio.lock.lock(kthread(slow, 'holder'));
        const freed = await swapping;
        held.release();
        folio_put(folio);
        const loaded = sum(await sys.load(at, 4 * PAGE_SIZE));
        await sys.swapoff(swap);
        return [freed, loaded, sum(await sys.load(at, 4 * PAGE_SIZE))];
      }),
  },
  {
    name: 'a block that is locked when it is to be read ahead, and written',
    run: async (_sys, _other, sb) => {
      const { s_bdev: bdev } = sb;
      if (bdev === undefined) return 'no device';
      const [holder, reader] = [kthread(sb, 'holder'), kthread(sb, 'reader')];
      const bh = sb_getblk(holder, bdev, bdev.size / PAGE_SIZE - 1);
      const held = await bh.lock.lock(holder);
      sb_breadahead(reader, bdev, bh.b_blocknr);
      const early = bh.uptodate;
      held.release();
      sb_breadahead(reader, bdev, bh.b_blocknr);
      await wait_on_buffer(reader, bh);
      mark_buffer_dirty(bh);
      const again = await bh.lock.lock(holder);
      start_writeback(reader, bdev, 100);
      const left = bh.dirty;
      again.release();
      await write_dirty_buffers(reader, bdev);
      brelse(bh);
      return [early, bh.uptodate, left, bh.dirty];
    },
  },
  {
    name: 'a page that is unmapped while a store waits for it',
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/f', 2 * PAGE_SIZE);
      await sys.fsync(fd);
      const at = await other.mmap(0, 2 * PAGE_SIZE, RW, MAP_SHARED, await other.open('/f', O_RDWR));
      await other.load(at, 1);
      const folio = pageOf(await inodeAt(sys, sb, '/f'), 0);
      const holder = kthread(sb, 'holder');
      const held = await folio.lock.lock(holder);
      const storing = said(other.store(at + 3, Buffer.from('stored')));
      await turns(sb);
      unmap_mapping_folio(holder, folio);
      held.release();
      const stored = await storing;
      const seen = (await other.load(at, 12)).toString();
      await other.munmap(at, 2 * PAGE_SIZE);
      return [stored, seen, (await sys.pread(fd, 12, 0)).toString()];
    },
  },
  {
    name: 'pages whose write fails at once',
    lends: true,
    run: async (sys, _other, sb) => {
      const fd = await create(sys, '/f', 8 * PAGE_SIZE);
      const inode = await inodeAt(sys, sb, '/f');
      let refused = 0;
      const { writepages: _together, ...others } = file_aops;
      inode.a_ops = {
        ...others,
        writepage: (task, folio) => {
          refused++;
          folio_start_writeback(task, folio);
          folio_unlock(task, folio);
          folio_end_writeback(task, folio, errno('EIO'));
          throw errno('EIO');
        },
      };
      sb.s_bdi?.wakeFlusher('sync');
      for (let i = 0; i < 200 && sb.s_bdi?.writebackRunning === true; i++) await sb.sched.yield();
      inode.a_ops = file_aops;
      return [refused > 0, await said(sys.fsync(fd)), await said(sys.fsync(fd))];
    },
  },
];

/** Move what a page holds to a fresh page. @returns whether it was moved */
async function move(sb: SuperBlock, src: Folio, mode: MigrateMode): Promise<boolean> {
  folio_get(src);
  const dst = new Folio(sb.memory, undefined, src.index);
  const moved = await migrate_one(kthread(sb, 'kcompactd'), src, dst, mode);
  folio_put(dst);
  folio_put(src);
  return moved;
}

/** Lock a page as soon as it is under writeback. */
async function lockedInWriteback(sb: SuperBlock, folio: Folio): Promise<Exclusive<'folio'>> {
  for (let i = 0; i < 500 && !folio.writeback.isSet; i++) await sb.sched.yield();
  return await folio.lock.lock(kthread(sb, 'holder'));
}
