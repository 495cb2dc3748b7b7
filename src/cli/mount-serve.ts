/** The process that serves a mount: machine, device, filesystem, the kernel's mount, and the way back. */

import { type BlockDevice, blkdev_get, blkdev_put } from '../block/block-device.js';
import { ImageError } from '../block/image-hold.js';
import { type FileSystemType, kill_sb, vfs_mount } from '../fs/super.js';
import {
  type Machine,
  SB_DIRSYNC,
  SB_LAZYTIME,
  SB_NOATIME,
  SB_NODIRATIME,
  SB_RDONLY,
  SB_SYNCHRONOUS,
  type SuperBlock,
} from '../fs/super-block.js';
import { do_quotactl } from '../fs/syscalls/quota.js';
import { mountsDisk } from '../fuse/mount.js';
import { mkfs } from '../latch/mkfs.js';
import { latch_fs } from '../latch/super.js';
import { type Logger, openLog, violationSink } from '../report/log.js';
import { LogFile } from '../report/log-file.js';
import { ViolationHistory } from '../report/violations.js';
import { Task, userCred } from '../sched/task.js';
import type { LockObserver } from '../sched/validator.js';
import { MS_STRICTATIME } from '../uapi/mount.js';
import { Q_QUOTAON } from '../uapi/quota.js';
import { addControl } from './control.js';
import { isDaemon, tellParent } from './daemon.js';
import { CliError, describe, placeOf, reason } from './error.js';
import { isLatch, loadFilesystem } from './filesystem.js';
import { kernelFlags } from './kernel-flags.js';
import { asCliError, newMachine, openSource } from './machine.js';
import { kernelOptions, type MountSettings } from './mount-options.js';
import { type Farewell, serve, serveNative } from './serve.js';
import { isMemory } from './size.js';

/** What of the kernel's flags the superblock must know itself: times and syncing are the server's business. */
function superFlags(settings: MountSettings): number {
  const flags = kernelFlags(settings.flags);
  return (
    (settings.readOnly ? SB_RDONLY : 0) |
    (flags.sync ? SB_SYNCHRONOUS : 0) |
    (flags.dirsync ? SB_DIRSYNC : 0) |
    (flags.strictatime ? MS_STRICTATIME : 0) |
    // Where both are asked for, mount(2) takes strictatime.
    (flags.noatime && !flags.strictatime ? SB_NOATIME : 0) |
    (flags.nodiratime ? SB_NODIRATIME : 0) |
    (settings.lazytime ? SB_LAZYTIME : 0)
  );
}

/**
 * Mount, tell who waits for it (daemon.ts) how that went, and serve until the end.
 * @param source 'memory', 'memory:SIZE' or the absolute path of an image
 * @param flags where to log, unless the options say
 * @throws CliError where this is no daemon; a daemon ends with status 1
 */
export async function mountAndServe(
  source: string,
  mountpoint: string,
  settings: MountSettings,
  flags: { readonly log?: string; readonly logLevel: string },
): Promise<void> {
  const onReady = (): void => {
    if (!isDaemon()) return;
    // It must not keep the directory that it was started in busy.
    process.chdir('/');
    void tellParent({ ready: true });
  };
  try {
    const to = logFile(settings.log ?? flags.log);
    process.on('SIGUSR1', () => to.reopen());
    const log = openLog({ level: flags.logLevel, to });
    await serveFilesystem(source, mountpoint, settings, log, { onReady });
  } catch (error) {
    const failure = failureOf(error);
    if (!isDaemon()) throw failure;
    await tellParent({ failed: describe(failure), status: failure instanceof CliError ? failure.status : 1 });
    process.exit(1);
  }
}

function failureOf(error: unknown): unknown {
  const readable = error instanceof ImageError && error.readable;
  return readable ? new CliError(`${error.message}; mount it with -o ro to read it`) : asCliError(error);
}

/** @throws CliError naming the file */
function logFile(path: string | undefined): LogFile {
  try {
    return new LogFile(path);
  } catch (error) {
    throw new CliError(`the log ${path} cannot be written: ${reason(error)}`);
  }
}

/** Who has part in the serving. */
export interface Hooks {
  /** Called when the mount answers. */
  readonly onReady: () => void;
  /** Told of everything from the mount of the filesystem on. */
  readonly observer?: LockObserver;
}

/**
 * Mount a filesystem here and serve it until somebody unmounts it.
 * @param source as of mountAndServe
 * @throws CliError, ImageError, FormatError, MountError where it cannot be mounted
 */
export async function serveFilesystem(
  source: string,
  mountpoint: string,
  settings: MountSettings,
  log: Logger,
  hooks: Hooks,
): Promise<void> {
  const violations = new ViolationHistory();
  const latch = isLatch(settings);
  const other = latch ? undefined : await loadFilesystem(settings.type ?? '');
  const machine = newMachine({
    enforce: settings.enforce,
    stacks: settings.debug,
    sink: violations.sink(violationSink(log)),
    printk: (line) => log.warn(line),
    ...(settings.pageCache === undefined ? {} : { pageCache: settings.pageCache }),
    inMemory: latch && isMemory(source),
    ownLocks: !latch,
    // With its writeback cache the kernel stamps files itself.
    multigrain: settings.cache !== 'always' || settings.transport === 'fuse-native',
  });
  machine.validator.observer = hooks.observer;
  const task = new Task(machine.sched, machine.validator, { comm: 'mount' });
  // A disk that the kernel mounts as itself is held by that mount.
  const lent = settings.transport !== 'fuse-native' && mountsDisk(mountpoint, kernelOptions(settings, source));
  const bdev = openSource(machine, source, settings.size, settings.readOnly, { lent });
  await blkdev_get(task, bdev, settings.readOnly ? 'read' : 'write', machine);
  let farewell: Farewell | undefined;
  try {
    const sb =
      other === undefined
        ? await mountLatch(task, machine, bdev, source, settings)
        : await mountOther(machine, other, bdev, settings);
    sb.kernelChecksPermissions = settings.defaultPermissions;
    const attach = () => addControl(sb, machine.validator, mountpoint, violations, log);
    await served(sb, settings.control ? attach : undefined, source, mountpoint, settings, log, hooks, (last) => {
      farewell = last;
    });
  } finally {
    await blkdev_put(task, bdev);
    farewell?.();
  }
}

/** @throws FormatError */
async function mountLatch(
  task: Task,
  machine: Machine,
  bdev: BlockDevice,
  source: string,
  settings: MountSettings,
): Promise<SuperBlock> {
  if (isMemory(source)) {
    const owner = { uid: settings.uid ?? process.getuid?.() ?? 0, gid: settings.gid ?? process.getgid?.() ?? 0 };
    await mkfs(task, bdev, { ...owner, journal: false, quota: settings.quota.length > 0 });
  }
  const type = latch_fs({ quota: settings.quota.length > 0, auto_da_alloc: settings.autoDaAlloc });
  const sb = await vfs_mount(machine, type, bdev, superFlags(settings));
  if (!settings.readOnly)
    for (const limited of new Set(settings.quota)) await do_quotactl(task, sb, Q_QUOTAON, limited);
  return sb;
}

/** Who mounts it is who its own code sees. @throws CliError with the place where it failed */
async function mountOther(
  machine: Machine,
  type: FileSystemType,
  bdev: BlockDevice,
  settings: MountSettings,
): Promise<SuperBlock> {
  const cred = userCred(process.getuid?.() ?? 0, process.getgid?.() ?? 0, () => process.getgroups?.() ?? []);
  try {
    const sb = await vfs_mount(machine, type, bdev, superFlags(settings), cred);
    if (sb.s_root !== undefined) return sb;
    await kill_sb(sb);
    throw new Error('it has set no s_root');
  } catch (error) {
    throw new CliError(`${type.name} cannot be mounted: ${describe(error)}${placeOf(error)}`);
  }
}

/** Between the filesystem's mount and its unmount: the kernel's mount, and the requests. */
async function served(
  sb: SuperBlock,
  addControlDirectory: (() => () => Promise<void>) | undefined,
  source: string,
  mountpoint: string,
  settings: MountSettings,
  log: Logger,
  { onReady }: Hooks,
  onEnd: (farewell: Farewell) => void,
): Promise<void> {
  const removeControl = addControlDirectory?.();
  try {
    const way = settings.transport === 'fuse-native' ? serveNative : serve;
    const farewell = await way(mountpoint, sb, log, {
      source,
      kernel: kernelOptions(settings, source),
      cache: settings.cache,
      readOnly: settings.readOnly,
      direct: settings.cache === 'none' || !isMemory(source),
      generated: settings.control,
      idmap: settings.idmap,
      // What cannot find an inode by its number again has no handle to give.
      exported: settings.exported && sb.s_export_op !== undefined,
      onReady,
    });
    onEnd(farewell);
  } finally {
    await removeControl?.();
    const busy = await kill_sb(sb);
    if (busy > 0) log.error({ busy }, `${busy} inodes were still in use at the unmount`);
  }
}
