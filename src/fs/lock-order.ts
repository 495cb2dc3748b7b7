/**
 * In which order several locks of one name are taken, by whose they are: the kernel's document on directory locking, lock_two_nondirectories, and the head of
 * fs/dcache.c. Nesting levels only say that two may be held together.
 */
import { heldBy } from '../locking/held.js';
import type { LockClassKey } from '../locking/lockdep/class.js';
import { instance_order, type WrongOrder } from '../locking/lockdep/instances.js';
import type { Task } from '../sched/task.js';
import { anyAlias, is_subdir } from './dcache-alias.js';
import { Dentry } from './dentry.js';
import { Inode, isDir } from './inode.js';

const wrong = (name: string, message: string): WrongOrder => ({ rule: `directory-locking#${name}`, message });

/** Of the classes of i_rwsem those of directories. */
const ofDirectories = ({ owner }: LockClassKey): boolean => owner.endsWith('-directory');

/** i_rwsem of two inodes of one filesystem; of two filesystems one lies on the other. */
function inodes(task: Task, held: object, wanted: object): WrongOrder | undefined {
  if (!(held instanceof Inode && wanted instanceof Inode) || held.i_sb !== wanted.i_sb) return undefined;
  if (isDir(held)) return isDir(wanted) ? directories(task, held, wanted) : undefined;
  if (isDir(wanted)) return wrong('directories-before-files', 'directories are locked before files');
  return files(held, wanted);
}

function directories(task: Task, held: Inode, wanted: Inode): WrongOrder | undefined {
  const [above, below] = [anyAlias(held), anyAlias(wanted)];
  if (above === undefined || below === undefined || is_subdir(below, above)) return undefined;
  if (is_subdir(above, below)) {
    return wrong('ancestor-first', 'the latter is below it, and an ancestor is locked before what is below it');
  }
  if (heldBy(task, held.i_sb.s_vfs_rename_sem) !== undefined) return undefined;
  return wrong(
    'unrelated-under-s_vfs_rename_sem',
    'neither is below the other, and two such directories are locked together only with s_vfs_rename_sem held',
  );
}

/** What the kernel compares by address goes by number here. */
function files(held: Inode, wanted: Inode): WrongOrder | undefined {
  if (held.i_ino < wanted.i_ino) return undefined;
  return wrong('two-files-by-number', 'of two files the one with the lower number is locked first');
}

/** invalidate_lock of two files. */
function mappings(_task: Task, held: object, wanted: object): WrongOrder | undefined {
  if (!(held instanceof Inode && wanted instanceof Inode) || held.i_sb !== wanted.i_sb) return undefined;
  return files(held, wanted);
}

/** d_lock of two dentries: who excludes every rename may take them in any order. */
function dentries(task: Task, held: object, wanted: object): WrongOrder | undefined {
  if (!(held instanceof Dentry && wanted instanceof Dentry)) return undefined;
  if (is_subdir(wanted, held) || heldBy(task, wanted.d_sb.rename_lock)?.exclusive === true) return undefined;
  const message = 'd_lock of a parent is taken before that of its child, others under rename_lock';
  return { rule: 'dcache#parent-d_lock-first', message };
}

/** Tell the validator. */
export function state_lock_orders(): void {
  instance_order('i_rwsem', inodes, (held, wanted) => !ofDirectories(held) || ofDirectories(wanted));
  instance_order('invalidate_lock', mappings);
  instance_order('d_lock', dentries);
}
