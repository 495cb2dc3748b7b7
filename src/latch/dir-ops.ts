/** What can be done in a directory: look up, create, link, remove, rename, list (fs/ext4/namei.c). */
import type { file_operations, inode_operations } from '../fs/operations.js';
import { latch_get_acl, latch_get_inode_acl, latch_set_acl } from './acl.js';
import { fileattr_get, fileattr_set, latch_getattr, latch_setattr, latch_update_time } from './attr.js';
import { link, rmdir, unlink } from './dir-links.js';
import { iterate_shared, lookup } from './dir-lookup.js';
import { atomic_open, create, mkdir, mknod, symlink, tmpfile } from './dir-make.js';
import { rename } from './dir-rename.js';
import { latch_fsync } from './fsync.js';
import { latch_compat_ioctl, latch_ioctl } from './ioctl.js';
import { latch_listxattr } from './xattr.js';

export const dir_inode_operations: inode_operations = {
  lookup,
  create,
  link,
  unlink,
  symlink,
  mkdir,
  rmdir,
  mknod,
  rename,
  atomic_open,
  tmpfile,
  setattr: latch_setattr,
  getattr: latch_getattr,
  update_time: latch_update_time,
  listxattr: latch_listxattr,
  get_inode_acl: latch_get_inode_acl,
  get_acl: latch_get_acl,
  set_acl: latch_set_acl,
  fileattr_get,
  fileattr_set,
};

export const dir_operations: file_operations = {
  iterate_shared,
  fsync: latch_fsync,
  unlocked_ioctl: latch_ioctl,
  compat_ioctl: latch_compat_ioctl,
};
