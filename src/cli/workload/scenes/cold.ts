/** Scenes of what is not in memory, or cannot leave it now. */

import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../../fs/drop-caches.js';
import type { SuperBlock } from '../../../fs/super-block.js';
import { file_aops } from '../../../latch/file.js';
import { fs_reclaim } from '../../../locking/lock-map.js';
import { folio_redirty_for_writepage } from '../../../mm/filemap.js';
import { WRITEPAGE_ACTIVATE } from '../../../mm/operations.js';
import { shrink_node } from '../../../mm/vmscan.js';
import { Task } from '../../../sched/task.js';
import { O_CREAT, O_RDWR } from '../../../uapi/fcntl.js';
import { MAP_SHARED, PROT_READ } from '../../../uapi/mman.js';
import { create, type Scene, said } from './scene.js';

function newTask(sb: SuperBlock, comm: string): Task {
  return new Task(sb.sched, sb.machine.validator, { comm });
}

async function forget(sb: SuperBlock): Promise<void> {
  await drop_caches(newTask(sb, 'drop'), sb, DROP_PAGECACHE | DROP_SLAB);
}

export const COLD: readonly Scene[] = [
  {
    name: 'cold names',
    run: async (sys, other, sb) => {
      await sys.mkdir('/d', 0o755);
      await sys.close(await create(sys, '/d/f'));
      await sys.symlink('d/f', '/l');
      await sys.sync();
      await forget(sb);
      const both = await Promise.all([sys.open('/d/f', O_RDWR), other.open('/d/f', O_RDWR)]);
      const sizes = [(await sys.fstat(both[0])).size, (await other.fstat(both[1])).size];
      await sys.close(both[0]);
      await other.close(both[1]);
      await forget(sb);
      await sys.close(await sys.open('/l', 0));
      return [sizes, await said(sys.open('/d/none', O_RDWR))];
    },
  },
  {
    name: 'cold pages',
    run: async (sys, _other, sb) => {
      const fd = await create(sys, '/p', 20_000);
      await sys.fsync(fd);
      const at = await sys.mmap(0, 20_480, PROT_READ, MAP_SHARED, fd);
      await drop_caches(newTask(sb, 'drop'), sb, DROP_PAGECACHE);
      const read = (await sys.load(at + 8192, 4)).toString();
      await sys.munmap(at, 20_480);
      return read;
    },
  },
  {
    name: 'pages that cannot be written now',
    lends: true,
    run: async (sys, _other, sb) => {
      await sys.close(await sys.open('/w', O_CREAT | O_RDWR, 0o644));
      await sys.sync();
      await forget(sb);
      const inode = sb.inodeHash.get((await sys.stat('/w')).ino);
      if (inode === undefined) return 'no inode';
      let refused = 0;
      inode.a_ops = {
        ...file_aops,
        writepage: (task, folio, wbc) => {
          refused++;
          folio_redirty_for_writepage(task, wbc, folio);
          return WRITEPAGE_ACTIVATE;
        },
      };
      const fd = await sys.open('/w', O_RDWR);
      await sys.write(fd, Buffer.alloc(20_000, 'w'));
      const task = newTask(sb, 'reclaim');
      const inside = fs_reclaim.enter(task);
      for (let pass = 0; pass < 3; pass++) await shrink_node(task, sb.machine.memory, 8, 4);
      inside.release();
      await sys.fsync(fd);
      return [refused > 0, (await sys.pread(fd, 3, 9000)).toString()];
    },
  },
];
