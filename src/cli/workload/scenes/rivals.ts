/** Two who want the same at once: what comes of it shows whether a lock has kept them apart while an operation slept. */

import { BlockDevice, blkdev_get, blkdev_put, type block_device_operations } from '../../../block/block-device.js';
import { memoryDevice } from '../../../block/memory-device.js';
import { mount_held } from '../../../fs/namespace.js';
import { ACL_DONT_CACHE } from '../../../fs/posix-acl-types.js';
import { kill_sb, vfs_mount } from '../../../fs/super.js';
import type { SuperBlock } from '../../../fs/super-block.js';
import type { FileAttr } from '../../../fs/types.js';
import { mkfs } from '../../../latch/mkfs.js';
import { latch_fs_type } from '../../../latch/super.js';
import { GUARDED, guard_read } from '../../../locking/guarded.js';
import { Task } from '../../../sched/task.js';
import { schedule_timeout } from '../../../sched/wait.js';
import { FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS } from '../../../uapi/ioctl.js';
import { create, type Scene } from './scene.js';

/** Milliseconds: long enough for whoever is not kept away. */
const LONG = 10;
/** FS_COMPR_FL: the other interface does not know it. */
const FS_COMPR_FL = 4;
const MIB = 2 ** 20;

function newTask(sb: SuperBlock, comm: string): Task {
  return new Task(sb.sched, sb.machine.validator, { comm });
}

/** Sleep, so that others come in who can (schedule_timeout). */
async function pause(task: Task): Promise<void> {
  await schedule_timeout(task, LONG, 'a server far away');
}

/** Another filesystem on the same machine, whose statfs asks a server. */
async function mountSlow(sb: SuperBlock): Promise<SuperBlock> {
  const { sched, machine } = sb;
  const device = memoryDevice(32 * MIB, sched, machine.validator);
  await mkfs(newTask(sb, 'mkfs'), device);
  const slow = await vfs_mount(machine, latch_fs_type, device, 0);
  const { statfs } = slow.s_op;
  slow.s_op = {
    ...slow.s_op,
    statfs: async (task, root) => {
      await pause(task);
      if (slow.s_root !== root || statfs === undefined) throw new Error('the filesystem is gone');
      return await statfs(task, root);
    },
  };
  return slow;
}

/** A device that does nothing but what `ops` do. */
export function deviceOf({ sched, machine }: SuperBlock, ops: block_device_operations): BlockDevice {
  const nothing = (): void => undefined;
  const driver = { read: nothing, write: nothing, discard: nothing, zero: nothing, flush: nothing };
  return new BlockDevice({ name: 'bare', size: MIB, readOnly: false }, driver, ops, sched, machine.validator);
}

export const RIVALS: readonly Scene[] = [
  {
    name: 'ustat and unmount',
    lends: true,
    run: async (sys, _other, sb) => {
      const slow = await mountSlow(sb);
      const [found, busy] = await Promise.all([sys.ustat(slow), kill_sb(slow)]);
      return [found.f_tfree > 0, busy];
    },
  },
  {
    name: 'two ways to the flags',
    lends: true,
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/f', 10);
      const second = await other.open('/f', 0);
      const inode = sb.inodeHash.get((await sys.stat('/f')).ino);
      if (inode === undefined) return 'no inode';
      let now: FileAttr = {
        flags: 0,
        fsx_xflags: 0,
        fsx_extsize: 0,
        fsx_nextents: 0,
        fsx_projid: 0,
        fsx_cowextsize: 0,
      };
      inode.i_op = {
        ...inode.i_op,
        fileattr_get: async (task) => {
          const read = { ...now };
          await pause(task);
          return read;
        },
        fileattr_set: (_task, _dentry, attr) => {
          now = { ...attr };
        },
      };
      const project = Buffer.alloc(28);
      project.writeUInt32LE(7, 12);
      const flags = Buffer.alloc(4);
      flags.writeUInt32LE(FS_COMPR_FL);
      await Promise.all([sys.ioctl(fd, FS_IOC_SETFLAGS, flags), other.ioctl(second, FS_IOC_FSSETXATTR, project)]);
      const got = await sys.ioctl(fd, FS_IOC_FSGETXATTR, Buffer.alloc(28));
      return [now.flags, now.fsx_projid, got.readUInt32LE(12)];
    },
  },
  {
    name: 'what is mounted is shown',
    lends: true,
    run: async (sys, _other, sb) => {
      let shown = 0;
      sb.s_op = {
        ...sb.s_op,
        show_options: (task, root) => {
          shown++;
          return mount_held(task, root) === undefined ? 'first' : 'nested';
        },
      };
      return [await sys.show_mounts(), shown];
    },
  },
  {
    name: 'lists that are not kept',
    lends: true,
    run: async (sys, other, sb) => {
      await sys.mkdir('/d', 0o750);
      await sys.close(await create(sys, '/d/f'));
      // Too long to be in the inode.
      await sys.symlink(`${'./'.repeat(200)}d`, '/l');
      await sys.chown('/d', 5, 5);
      const [dir, link] = [(await sys.stat('/d')).ino, (await sys.lstat('/l')).ino].map((ino) => sb.inodeHash.get(ino));
      if (dir === undefined || link === undefined) return 'no inode';
      dir.i_acl = ACL_DONT_CACHE;
      let asked = 0;
      dir.i_op = {
        ...dir.i_op,
        get_inode_acl: (task, inode, _type, rcu) => {
          asked++;
          if (rcu) guard_read(task, GUARDED.under_rcu, inode.i_sb.rcu);
          return undefined;
        },
      };
      const first = (await other.stat('/d/f')).size;
      // Its atime is to stay: it is followed without a reference, and asked where it leads.
      link.i_atime = { sec: link.i_mtime.sec + 60, nsec: 0 };
      const through = (await other.stat('/l/f')).size;
      link.i_link = undefined;
      return [first, through, (await other.stat('/l/f')).size, asked > 2];
    },
  },
  {
    name: 'a device is opened twice',
    lends: true,
    run: async (_sys, _other, sb) => {
      const done: string[] = [];
      const slowly = (what: string) => async (task: Task) => {
        done.push(`${what} begins`);
        await pause(task);
        done.push(`${what} ends`);
      };
      const device = deviceOf(sb, { open: slowly('open'), release: slowly('release') });
      const [a, b] = [newTask(sb, 'a'), newTask(sb, 'b')];
      await Promise.all([blkdev_get(a, device, 'read'), blkdev_get(b, device, 'read')]);
      await blkdev_put(b, device);
      await Promise.all([blkdev_put(a, device), blkdev_get(b, device, 'read')]);
      await blkdev_put(b, device);
      return [done, device.openers];
    },
  },
];
