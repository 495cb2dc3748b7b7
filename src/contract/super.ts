/** super_operations: the life of inodes and of the superblock, and s_umount around it. */
import type { Row } from './row.js';
import { demand, EVERYWHERE, eitherMode, exclusive, notHeld, rowsOf, SYSCALLS, shared } from './rules.js';

const op = rowsOf('super_operations');

const quotaFileIsExclusive = demand(
  'alone-on-the-quota-file',
  'The quota code lets one operation at a time touch a quota file, by its I/O semaphore; only a user who writes to the file with quotas on can break that.',
  'super_operations, the paragraph on quota_read and quota_write',
);
const fileOperation = { when: 'on behalf of a file operation' } as const;

export const super_operations = {
  alloc_inode: op('alloc_inode', {
    returns: 'struct inode *',
    prototype: 'struct super_block *sb',
    cells: [],
    mayBlock: 'yes',
    rules: [],
    reach: EVERYWHERE,
  }),
  free_inode: op('free_inode', {
    returns: 'void',
    prototype: 'struct inode *',
    cells: ['', 'called from RCU callback'],
    mayBlock: 'no',
    context: 'rcu callback',
    rules: [],
    prose: [
      demand(
        'runs-after-a-grace-period',
        'It runs as an RCU callback: no read section that could have seen the inode is open any more, and it may not block.',
        'super_operations, the note of free_inode',
      ),
    ],
    reach: EVERYWHERE,
  }),
  destroy_inode: op('destroy_inode', {
    returns: 'void',
    prototype: 'struct inode *',
    cells: [],
    mayBlock: 'yes',
    rules: [],
    reach: EVERYWHERE,
  }),
  dirty_inode: op('dirty_inode', {
    returns: 'void',
    prototype: 'struct inode *, int flags',
    cells: [],
    mayBlock: 'yes',
    rules: [],
    reach: EVERYWHERE,
  }),
  write_inode: op('write_inode', {
    returns: 'int',
    prototype: 'struct inode *, struct writeback_control *wbc',
    cells: [],
    mayBlock: 'yes',
    rules: [],
    reach: EVERYWHERE,
  }),
  drop_inode: op('drop_inode', {
    returns: 'int',
    prototype: 'struct inode *',
    cells: ['', '!!!inode->i_lock!!!'],
    mayBlock: 'no',
    rules: [exclusive('i_lock', 'inode')],
    prose: [
      demand(
        'under-a-spinlock',
        'It is called with the inode spinlock held, so against the rule of its section it may not block.',
        'super_operations, the note of drop_inode',
      ),
    ],
    reach: EVERYWHERE,
  }),
  evict_inode: op('evict_inode', {
    returns: 'void',
    prototype: 'struct inode *',
    cells: [],
    mayBlock: 'yes',
    rules: [],
    reach: EVERYWHERE,
  }),
  put_super: op('put_super', {
    returns: 'void',
    prototype: 'struct super_block *',
    cells: ['write'],
    mayBlock: 'yes',
    rules: [exclusive('s_umount', 'sb')],
    reach: EVERYWHERE,
  }),
  sync_fs: op('sync_fs', {
    returns: 'int',
    prototype: 'struct super_block *sb, int wait',
    cells: ['read'],
    mayBlock: 'yes',
    rules: [shared('s_umount', 'sb')],
    reach: EVERYWHERE,
  }),
  freeze_fs: op('freeze_fs', {
    returns: 'int',
    prototype: 'struct super_block *',
    cells: ['write'],
    mayBlock: 'yes',
    rules: [exclusive('s_umount', 'sb')],
    reach: EVERYWHERE,
  }),
  unfreeze_fs: op('unfreeze_fs', {
    returns: 'int',
    prototype: 'struct super_block *',
    cells: ['write'],
    mayBlock: 'yes',
    rules: [exclusive('s_umount', 'sb')],
    reach: EVERYWHERE,
  }),
  statfs: op('statfs', {
    returns: 'int',
    prototype: 'struct dentry *, struct kstatfs *',
    cells: ['maybe(read)', '(see below)'],
    mayBlock: 'yes',
    rules: [
      shared('s_umount', 'sb', { when: 'ustat(2)', variant: 'ustat' }),
      notHeld('s_umount', 'sb', { when: 'statfs(2), fstatfs(2)', variant: 'path' }),
    ],
    prose: [
      demand(
        'ustat-holds-s_umount',
        'Only ustat(2), which has a device number and no path, pins the superblock by holding s_umount shared.',
      ),
      demand(
        'path-pins-the-superblock',
        'Every other caller resolved a path, which pins the superblock, and does not hold s_umount.',
      ),
    ],
    reach: EVERYWHERE,
  }),
  remount_fs: op('remount_fs', {
    returns: 'int',
    prototype: 'struct super_block *, int *, char *',
    cells: ['write'],
    mayBlock: 'yes',
    rules: [exclusive('s_umount', 'sb')],
    reach: SYSCALLS,
  }),
  umount_begin: op('umount_begin', {
    returns: 'void',
    prototype: 'struct super_block *',
    cells: ['no'],
    mayBlock: 'yes',
    rules: [notHeld('s_umount', 'sb')],
    reach: EVERYWHERE,
  }),
  show_options: op('show_options', {
    returns: 'int',
    prototype: 'struct seq_file *, struct dentry *',
    cells: ['no', '(namespace_sem)'],
    mayBlock: 'yes',
    rules: [shared('namespace_sem', 'namespace'), notHeld('s_umount', 'sb')],
    reach: SYSCALLS,
  }),
  quota_read: op('quota_read', {
    returns: 'ssize_t',
    prototype: 'struct super_block *, int, char *, size_t, loff_t',
    cells: ['no', '(see below)'],
    mayBlock: 'yes',
    rules: [eitherMode('dqio_sem', 'sb'), notHeld('s_umount', 'sb', fileOperation)],
    prose: [quotaFileIsExclusive],
    reach: SYSCALLS,
  }),
  quota_write: op('quota_write', {
    returns: 'ssize_t',
    prototype: 'struct super_block *, int, const char *, size_t, loff_t',
    cells: ['no', '(see below)'],
    mayBlock: 'yes',
    rules: [exclusive('dqio_sem', 'sb'), notHeld('s_umount', 'sb', fileOperation)],
    prose: [quotaFileIsExclusive],
    reach: SYSCALLS,
  }),
} as const satisfies Record<string, Row>;
