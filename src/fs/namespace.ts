/** Mounts within mounts (fs/namespace.c), and how a walk crosses them (the managed dentries of fs/namei.c). */
import { dentry_operations } from '../contract/dentry.js';
import { super_operations } from '../contract/super.js';
import { call } from '../locking/context.js';
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import { RwSem } from '../locking/rwsem.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { dentryLocks, dentryLocksAndRcu, dget, dput } from './dcache.js';
import {
  DCACHE_MANAGE_TRANSIT,
  DCACHE_MANAGED_DENTRY,
  DCACHE_MOUNTED,
  DCACHE_NEED_AUTOMOUNT,
  type Dentry,
} from './dentry.js';
import {
  type Machine,
  SB_DIRSYNC,
  SB_LAZYTIME,
  SB_NOATIME,
  SB_NODIRATIME,
  SB_RDONLY,
  SB_SYNCHRONOUS,
  type SuperBlock,
} from './super-block.js';

/** Symlinks that one path may lead through, and times that what belongs on one of its names is to be mounted. */
export const MAXSYMLINKS = 40;

/** One mount of a filesystem (struct vfsmount). */
export interface VfsMount {
  readonly mnt_sb: SuperBlock;
  readonly mnt_root: Dentry;
  /** Unmount it, when it is attached nowhere any more. */
  kill(): Promise<unknown>;
}

/** Which dentries something is mounted on (struct mnt_namespace). One for each machine. */
class Namespace {
  /** Held shared while the mounts are looked at, exclusively while they change. */
  readonly namespace_sem = new RwSem('namespace_sem');
  readonly mounts = new Map<Dentry, VfsMount>();
}

const namespaces = new WeakMap<Machine, Namespace>();

function namespaceOf(machine: Machine): Namespace {
  let namespace = namespaces.get(machine);
  if (namespace === undefined) {
    namespace = new Namespace();
    namespaces.set(machine, namespace);
  }
  return namespace;
}

/** What is mounted on a dentry, if anything (lookup_mnt). */
export function lookup_mnt(mountpoint: Dentry): VfsMount | undefined {
  return namespaceOf(mountpoint.d_sb.machine).mounts.get(mountpoint);
}

/**
 * Attach a mount to a dentry, which stays in memory from then on (graft_tree). Takes namespace_sem exclusively.
 * @throws EBUSY where something is mounted there already
 */
export async function do_add_mount(task: Task, mount: VfsMount, mountpoint: Dentry): Promise<void> {
  const namespace = namespaceOf(mountpoint.d_sb.machine);
  using _sem = await namespace.namespace_sem.write(task);
  if (mount_held(task, mountpoint) !== undefined) throw errno('EBUSY', 'something is mounted there already');
  guard_write(task, GUARDED.mounts, namespace.namespace_sem);
  namespace.mounts.set(dget(mountpoint), mount);
  mountpoint.d_flags |= DCACHE_MOUNTED;
}

/** What the root of a mount is mounted on, or undefined (mnt_mountpoint). */
export function mountpoint_of(root: Dentry): Dentry | undefined {
  for (const [mountpoint, mount] of namespaceOf(root.d_sb.machine).mounts) {
    if (mount.mnt_root === root) return mountpoint;
  }
  return undefined;
}

/** What is mounted on a dentry, for who holds namespace_sem, so that it stays mounted (lockdep_assert_held of fs/namespace.c). */
export function mount_held(task: Task, mountpoint: Dentry): VfsMount | undefined {
  const { namespace_sem, mounts } = namespaceOf(mountpoint.d_sb.machine);
  guard_read(task, GUARDED.mounts, namespace_sem);
  return mounts.get(mountpoint);
}

/** Everything that is mounted on something, in the order of mounting. */
export function mounts_of(machine: Machine): readonly VfsMount[] {
  return [...namespaceOf(machine).mounts.values()];
}

/**
 * Detach and unmount one mount, by its root (do_umount). Takes namespace_sem exclusively.
 * @throws EINVAL where it is mounted on nothing; EBUSY where something is mounted within it
 */
export async function detach_mount(task: Task, root: Dentry): Promise<void> {
  const namespace = namespaceOf(root.d_sb.machine);
  const mountpoint = mountpoint_of(root);
  const mount = mountpoint === undefined ? undefined : namespace.mounts.get(mountpoint);
  if (mountpoint === undefined || mount === undefined) throw errno('EINVAL');
  {
    using _sem = await namespace.namespace_sem.write(task);
    if ([...namespace.mounts.keys()].some((within) => within.d_sb === root.d_sb)) throw errno('EBUSY');
    guard_write(task, GUARDED.mounts, namespace.namespace_sem);
    namespace.mounts.delete(mountpoint);
    mountpoint.d_flags &= ~DCACHE_MOUNTED;
  }
  await dput(task, mountpoint);
  await mount.kill();
}

/** Detach and unmount whatever is mounted on dentries of a superblock that goes away (umount_tree). Takes namespace_sem exclusively. */
export async function umount_submounts(task: Task, sb: SuperBlock): Promise<void> {
  const namespace = namespaceOf(sb.machine);
  const gone: VfsMount[] = [];
  {
    using _sem = await namespace.namespace_sem.write(task);
    guard_write(task, GUARDED.mounts, namespace.namespace_sem);
    for (const [mountpoint, mount] of [...namespace.mounts]) {
      if (mountpoint.d_sb !== sb) continue;
      namespace.mounts.delete(mountpoint);
      mountpoint.d_flags &= ~DCACHE_MOUNTED;
      await dput(task, mountpoint);
      gone.push(mount);
    }
  }
  for (const mount of gone) {
    await umount_submounts(task, mount.mnt_sb);
    await mount.kill();
  }
}

/**
 * Go from a dentry to the root of what is mounted there, mounting it first where that is due (follow_managed). Takes over the reference to
 * `dentry` and returns one. At once where nothing is to be crossed.
 * @throws ELOOP where ->d_automount says again and again that somebody has mounted it; what ->d_manage and ->d_automount throw
 */
export function follow_managed(task: Task, dentry: Dentry): Awaitable<Dentry> {
  if ((dentry.d_flags & DCACHE_MANAGED_DENTRY) === 0) return dentry;
  return cross(task, dentry);
}

async function cross(task: Task, start: Dentry): Promise<Dentry> {
  let dentry = start;
  let automounts = 0;
  try {
    for (;;) {
      const { d_manage, d_automount } = dentry.d_op;
      if ((dentry.d_flags & DCACHE_MANAGE_TRANSIT) !== 0 && d_manage !== undefined) {
        const at = dentry;
        await call(task, dentry_operations.d_manage, dentryLocks(at), () => d_manage(task, at, false));
      }
      const mount = lookup_mnt(dentry);
      if (mount !== undefined) {
        const root = dget(mount.mnt_root);
        await dput(task, dentry);
        dentry = root;
      } else if ((dentry.d_flags & DCACHE_NEED_AUTOMOUNT) !== 0 && d_automount !== undefined) {
        if (++automounts > MAXSYMLINKS) throw errno('ELOOP', 'what is to be mounted there never is');
        await automount(task, dentry, d_automount);
      } else return dentry;
    }
  } catch (error) {
    await dput(task, dentry);
    throw error;
  }
}

/** Mount what belongs on a dentry, and attach it (follow_automount, finish_automount). */
async function automount(
  task: Task,
  dentry: Dentry,
  d_automount: NonNullable<Dentry['d_op']['d_automount']>,
): Promise<void> {
  const mount = await call(task, dentry_operations.d_automount, dentryLocksAndRcu(dentry), () =>
    d_automount(task, dentry),
  );
  if (mount === undefined) return;
  try {
    await do_add_mount(task, mount, dentry);
  } catch (error) {
    await mount.kill();
    // Somebody else was faster: theirs serves as well.
    if (lookup_mnt(dentry) === undefined) throw error;
  }
}

/** What the flags of a superblock say (show_sb_opts and show_mnt_opts of fs/proc_namespace.c). */
const SHOWN_FLAGS: readonly (readonly [number, string])[] = [
  [SB_SYNCHRONOUS, 'sync'],
  [SB_DIRSYNC, 'dirsync'],
  [SB_LAZYTIME, 'lazytime'],
  [SB_NOATIME, 'noatime'],
  [SB_NODIRATIME, 'nodiratime'],
];

/**
 * The options of a mounted filesystem, as /proc/mounts shows them: those that the VFS knows, then the filesystem's own (->show_options). Takes namespace_sem
 * shared.
 */
export function show_mount_options(task: Task, sb: SuperBlock): Awaitable<string> {
  const { show_options } = sb.s_op;
  const { s_root: root, s_flags: flags } = sb;
  const known = SHOWN_FLAGS.filter(([flag]) => (flags & flag) !== 0).map(([, name]) => name);
  const general = [(flags & SB_RDONLY) === 0 ? 'rw' : 'ro', ...known].join(',');
  if (show_options === undefined || root === undefined) return general;
  const { namespace_sem } = namespaceOf(sb.machine);
  const own = andThen(namespace_sem.read(task), (held) =>
    withCleanup(
      () =>
        call(task, super_operations.show_options, { namespace: namespace_sem, sb: sb.s_umount }, () =>
          show_options(task, root),
        ),
      () => held.release(),
    ),
  );
  return andThen(own, (options) => (options === '' ? general : `${general},${options}`));
}
