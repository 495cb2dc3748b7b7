/** Memory of processes, and who takes it from them. */
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../../src/fs/drop-caches.js';
import { fs_reclaim } from '../../../src/locking/lock-map.js';
import { compact_memory } from '../../../src/mm/compaction.js';
import { shrink_node } from '../../../src/mm/vmscan.js';
import { MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from '../../../src/uapi/mman.js';
import type { Actor } from '../actor.js';
import { type Call, kthread, pick } from './call.js';

/** Somewhere in a mapping. */
async function inMap(a: Actor, use: (at: number, most: number) => Promise<unknown>): Promise<void> {
  const map = a.maps[a.choose(Math.max(1, a.maps.length))];
  if (map === undefined) return;
  const at = a.choose(map.length);
  await use(map.addr + at, Math.min(map.length - at, 1 + a.choose(9000)));
}

export const MEMORY: readonly Call[] = [
  {
    name: 'mmap',
    weight: 5,
    run: async (a) => {
      const length = (1 + a.choose(20)) * 4096;
      const kind = pick(a, MAP_SHARED, MAP_SHARED, MAP_PRIVATE);
      const addr = await a.sys.mmap(0, length, PROT_READ | PROT_WRITE, kind, a.fd(), a.choose(10) * 4096);
      a.maps.push({ addr, length });
    },
  },
  { name: 'load', weight: 8, run: (a) => inMap(a, (at, most) => a.sys.load(at, most)) },
  { name: 'store', weight: 10, run: (a) => inMap(a, (at, most) => a.sys.store(at, Buffer.alloc(most, a.choose(256)))) },
  { name: 'msync', weight: 3, run: (a) => inMap(a, (at) => a.sys.msync(at - (at % 4096), 4096, pick(a, 1, 2, 4))) },
  { name: 'madvise', weight: 2, run: (a) => inMap(a, (at) => a.sys.madvise(at - (at % 4096), 4096, a.choose(5))) },
  {
    name: 'mprotect',
    weight: 1,
    run: (a) => inMap(a, (at) => a.sys.mprotect(at - (at % 4096), 4096, pick(a, 1, 3, 3))),
  },
  {
    name: 'munmap',
    weight: 5,
    run: async (a) => {
      const [map] = a.maps.splice(a.choose(Math.max(1, a.maps.length)), 1);
      if (map !== undefined) await a.sys.munmap(map.addr, map.length);
    },
  },
  {
    name: 'compaction',
    weight: 1,
    run: (a) => kthread(a, 'kcompactd', (task) => compact_memory(task, a.sb.machine.memory, 'MIGRATE_SYNC')),
  },
  {
    name: 'reclaim',
    weight: 2,
    run: (a) =>
      kthread(a, 'kswapd', async (task) => {
        using _reclaim = fs_reclaim.enter(task);
        await shrink_node(task, a.sb.machine.memory, 1 + a.choose(64), a.choose(12));
      }),
  },
  {
    name: 'drop_caches',
    weight: 1,
    run: (a) =>
      kthread(a, 'drop_caches', (task) =>
        drop_caches(task, a.sb, pick(a, DROP_PAGECACHE, DROP_SLAB, DROP_PAGECACHE | DROP_SLAB)),
      ),
  },
];
