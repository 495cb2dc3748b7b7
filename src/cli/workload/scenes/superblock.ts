/** Scenes of a whole filesystem. */
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../../fs/drop-caches.js';
import { FIFREEZE, FITHAW, FITRIM } from '../../../fs/ioctl.js';
import { O_DIRECTORY } from '../../../fs/open-flags.js';
import { SB_RDONLY } from '../../../fs/super-block.js';
import { Task } from '../../../sched/task.js';
import { create, names, type Scene } from './scene.js';

export const SUPERBLOCK: readonly Scene[] = [
  {
    name: 'superblock',
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/s');
      const root = await sys.open('/', O_DIRECTORY);
      await sys.syncfs(fd);
      await sys.ioctl(root, FIFREEZE);
      const writing = other.chmod('/s', 0o600);
      await sys.ioctl(root, FITHAW);
      await writing;
      await sys.ioctl(root, FITRIM, Buffer.alloc(24, 0xff).fill(0, 0, 8).fill(0, 16));
      await sys.statfs('/');
      await sys.ustat(sb);
      await sys.close(fd);
      await sys.unlink('/s');
      await sys.close(root);
      await sys.remount('/', SB_RDONLY, '');
      await sys.remount('/', 0, '');
      await drop_caches(new Task(sb.sched, sb.machine.validator, { comm: 'drop' }), sb, DROP_PAGECACHE | DROP_SLAB);
      await sys.show_mounts();
      return names(sys, '/');
    },
  },
];
