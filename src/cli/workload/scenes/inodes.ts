/** Scenes of inodes: what is said of them, and their end. */

import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../../../fs/drop-caches.js';
import { posix_acl_to_xattr } from '../../../fs/posix-acl-xattr.js';
import { Task } from '../../../sched/task.js';
import { FS_IOC_GETVERSION, FS_IOC_SETVERSION } from '../../../uapi/ioctl.js';
import { create, type Scene, said } from './scene.js';

/** FS_IOC_GETVERSION of a program for 32 bits. */
const FS_IOC32_GETVERSION = 0x80047601;

/** What its mode says, and that user 1 may read. */
const ACL = posix_acl_to_xattr([
  { tag: 1, id: undefined, perm: 6 },
  { tag: 2, id: 1, perm: 4 },
  { tag: 4, id: undefined, perm: 4 },
  { tag: 16, id: undefined, perm: 4 },
  { tag: 32, id: undefined, perm: 0 },
]);

export const INODES: readonly Scene[] = [
  {
    name: 'inodes',
    run: async (sys, other, sb) => {
      const fd = await create(sys, '/i');
      await sys.setxattr('/i', 'system.posix_acl_access', ACL);
      await sys.setxattr('/i', 'trusted.t', Buffer.from('t'));
      const generation = (await sys.ioctl(fd, FS_IOC_GETVERSION)).readUInt32LE();
      const same = (await sys.ioctl32(fd, FS_IOC32_GETVERSION)).readUInt32LE() === generation;
      const refused = await said(sys.ioctl(fd, FS_IOC_SETVERSION, Buffer.alloc(4)));
      await sys.close(fd);
      await sys.sync();
      // From the device again, list and all.
      await drop_caches(new Task(sb.sched, sb.machine.validator, { comm: 'drop' }), sb, DROP_PAGECACHE | DROP_SLAB);
      const list = (await other.getxattr('/i', 'system.posix_acl_access')).equals(ACL);
      const names = (await other.listxattr('/i')).sort();
      const { mode, size } = await other.stat('/i');
      await other.unlink('/i');
      return [same, refused, list, names, mode, size];
    },
  },
];
