/** What meets all who use the filesystem: signals, freezing, an overlay, a remount, and somebody who holds what others want. */
import { igrab, iput } from '../../../src/fs/icache.js';
import type { Inode } from '../../../src/fs/inode.js';
import { folio_get, folio_put } from '../../../src/mm/folio.js';
import { O_DIRECTORY } from '../../../src/uapi/fcntl.js';
import { FIFREEZE, FITHAW } from '../../../src/uapi/ioctl.js';
import type { Actor } from '../actor.js';
import { type Call, kthread } from './call.js';

function inodeOfRoot(a: Actor): Inode {
  const inode = a.sb.s_root?.d_inode;
  if (inode === undefined) throw new Error('not mounted');
  return inode;
}

/** What is in a directory, and in a file below it. */
async function lookAround(a: Actor, path: string): Promise<void> {
  const dir = await a.sys.open(path, O_DIRECTORY);
  try {
    const names = (await a.sys.getdents(dir)).map(({ name }) => name);
    const fd = await a.sys.openat(dir, names[a.choose(names.length)] ?? '.', 0);
    await a.sys.read(fd, 5000).finally(() => a.sys.close(fd));
  } finally {
    await a.sys.close(dir);
  }
}

export const MACHINE: readonly Call[] = [
  { name: 'signal', weight: 1, run: async (a) => a.process.signal('SIGUSR1') },
  {
    name: 'freeze and thaw',
    weight: 1,
    run: async (a) => {
      const fd = await a.sys.open('/', O_DIRECTORY);
      try {
        await a.sys.ioctl(fd, FIFREEZE, Buffer.alloc(0));
        await a.sys.ioctl(fd, FITHAW, Buffer.alloc(0));
      } finally {
        await a.sys.close(fd);
      }
    },
  },
  {
    // Others meet a lock that is not free, wherever they take it.
    name: 'hold a lock',
    weight: 4,
    run: (a) =>
      kthread(a, 'holder', async (task) => {
        const known = [...a.sb.inodeHash.values()].filter(({ i_count }) => i_count > 0);
        const inode = igrab(task, known[a.choose(Math.max(1, known.length))] ?? inodeOfRoot(a));
        if (inode === undefined) return;
        const lock = (a.choose(2) === 0 ? inode.mappingIfAny?.invalidate_lock : undefined) ?? inode.i_rwsem;
        const held = await (a.choose(3) === 0 ? lock.write(task) : lock.read(task));
        for (let turns = a.choose(6); turns > 0; turns--) await task.sched.yield();
        held.release();
        await iput(task, inode);
      }),
  },
  {
    // A page as well: who only tries for it goes by.
    name: 'hold a page',
    weight: 4,
    run: (a) =>
      kthread(a, 'holder', async (task) => {
        const known = [...a.sb.inodeHash.values()].filter(({ mappingIfAny: mapping }) => (mapping?.nrpages ?? 0) > 0);
        const mapping = known[a.choose(Math.max(1, known.length))]?.mappingIfAny;
        const [folio] = mapping?.i_pages.collect(a.choose(20), Number.POSITIVE_INFINITY, 1) ?? [];
        if (folio === undefined) return;
        folio_get(folio);
        const held = await folio.lock.lock(task);
        for (let turns = a.choose(6); turns > 0; turns--) await task.sched.yield();
        held.release();
        folio_put(folio);
      }),
  },
  {
    name: 'overlay',
    weight: 1,
    run: async (a) => {
      const merged = `/merged-${a.process.pid}`;
      await a.sys.mkdir(merged, 0o755);
      try {
        await a.sys.mount_overlay(merged, [`/d${a.choose(3)}`, `/d${a.choose(3)}`]);
        try {
          await lookAround(a, merged);
        } finally {
          await a.sys.umount2(merged, 0);
        }
      } finally {
        await a.sys.rmdir(merged);
      }
    },
  },
  { name: 'remount', weight: 1, run: (a) => a.sys.remount('/', 0, '') },
];
