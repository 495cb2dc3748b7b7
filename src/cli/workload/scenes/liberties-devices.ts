/**
 * As liberties.ts, of devices and of swap files: all that is asked of a block device but opening and closing comes without open_mutex, so that it may take it,
 * and what it is told of slots comes under swap_lock, so that it needs no lock of its own.
 */
import {
  type BlockDevice,
  bdev_direct_access,
  blkdev_getgeo,
  disk_unlock_native_capacity,
} from '../../../block/block-device.js';
import { blkdev_ioctl, compat_blkdev_ioctl } from '../../../block/ioctl.js';
import { GUARDED, guard_write } from '../../../locking/guarded.js';
import { PAGE_SIZE } from '../../../mm/folio.js';
import { Task } from '../../../sched/task.js';
import { swapThrough } from './memory.js';
import { deviceOf } from './rivals.js';
import { create, type Scene } from './scene.js';

const NONE = Buffer.alloc(0);
/** A command that the block layer leaves to the driver. */
const OWN_COMMAND = 0x4c00;

async function alone(task: Task, device: BlockDevice): Promise<void> {
  (await device.open_mutex.lock(task)).release();
}

export const DEVICES: readonly Scene[] = [
  {
    name: 'liberties of devices',
    lends: true,
    run: async (_sys, _other, sb) => {
      let asked = 0;
      const answer = async <T>(task: Task, device: BlockDevice, value: T): Promise<T> => {
        await alone(task, device);
        asked++;
        return value;
      };
      const device = deviceOf(sb, {
        ioctl: (task, bdev) => answer(task, bdev, NONE),
        compat_ioctl: (task, bdev) => answer(task, bdev, NONE),
        direct_access: (task, bdev, _sector, length) => answer(task, bdev, Buffer.alloc(length)),
        unlock_native_capacity: (task, bdev) => answer(task, bdev, undefined),
        getgeo: (task, bdev) => answer(task, bdev, { heads: 1, sectors: 2, cylinders: 3, start: 0 }),
      });
      const task = new Task(sb.sched, sb.machine.validator, { comm: 'driver' });
      await blkdev_ioctl(task, device, 'read', OWN_COMMAND, NONE);
      await compat_blkdev_ioctl(task, device, 'read', OWN_COMMAND, NONE);
      const direct = (await bdev_direct_access(task, device, 0)).length;
      await disk_unlock_native_capacity(task, device);
      return [direct, (await blkdev_getgeo(task, device)).cylinders, asked];
    },
  },
  {
    name: 'liberties of a swap file',
    lends: true,
    run: async (sys, _other, sb) => {
      const fd = await create(sys, '/swap', 16 * PAGE_SIZE);
      await sys.fsync(fd);
      const inode = sb.inodeHash.get((await sys.fstat(fd)).ino);
      if (inode === undefined) return 'no inode';
      const { i_mapping: mapping } = inode;
      const { swap_deactivate } = mapping.a_ops;
      let locked = 0;
      mapping.a_ops = {
        ...mapping.a_ops,
        swap_deactivate: async (task, file) => {
          const header = file.f_mapping.i_pages.load(0);
          if (header !== undefined) {
            using _header = await header.lock.lock(task);
            locked++;
          }
          await swap_deactivate?.(task, file);
        },
      };
      await sys.swapon(fd);
      // Whoever looks at the header has its page in the cache again.
      const first = (await sys.pread(fd, 1, 0)).length;
      await sys.swapoff(fd);
      return [first, locked];
    },
  },
  {
    name: 'a device with a map of its slots',
    lends: true,
    run: async (sys, _other, sb) => {
      const fd = await create(sys, '/swap', 64 * PAGE_SIZE);
      await sys.fsync(fd);
      const device = sb.s_bdev;
      if (device === undefined) return 'no device';
      let freed = 0;
      Reflect.set(device, 'ops', {
        ...device.ops,
        swap_slot_free_notify: (task: Task) => {
          for (const { swap_lock } of sb.memory.swap) guard_write(task, GUARDED.swap_map, swap_lock);
          freed++;
        },
      });
      return [await swapThrough(sys, sb, fd), freed > 0];
    },
  },
];
