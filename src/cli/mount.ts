/** `latchfs mount SOURCE MOUNTPOINT`. */
import { spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { type BlockDevice, blkdev_get, blkdev_put } from '../block/block-device.js';
import { kill_sb, vfs_mount } from '../fs/super.js';
import {
  SB_DIRSYNC,
  SB_NOATIME,
  SB_NODIRATIME,
  SB_RDONLY,
  SB_SYNCHRONOUS,
  type SuperBlock,
} from '../fs/super-block.js';
import { checkDevice, checkMountpoint } from '../fuse/mount-check.js';
import { adoptDescriptor, passedDescriptor } from '../fuse/mount-fd.js';
import type { MountOptions } from '../fuse/mount-options.js';
import { loadNative } from '../fuse/native.js';
import { mkfs } from '../latch/mkfs.js';
import { latch_fs_type } from '../latch/super.js';
import { type Logger, openLog, violationSink } from '../report/log.js';
import { ViolationHistory } from '../report/violations.js';
import { Task } from '../sched/task.js';
import { addControl } from './control.js';
import { daemonise, isDaemon, tellParent } from './daemon.js';
import { CliError, describe } from './error.js';
import { asCliError, isMemory, newMachine, openSource } from './machine.js';
import { kernelFlags, type MountSettings, parseOptions, type TransportName } from './mount-options.js';
import { serve, serveNative } from './serve.js';

/** What commander gives of the command line. */
export interface MountFlags {
  readonly options: readonly string[];
  readonly foreground?: boolean;
  readonly log?: string;
  readonly logLevel: string;
  readonly transport: TransportName;
}

function kernelOptions(settings: MountSettings, source: string): MountOptions {
  return {
    fsname: settings.fsname ?? source,
    ...(settings.subtype === undefined ? {} : { subtype: settings.subtype }),
    allowOther: settings.allowOther,
    defaultPermissions: settings.defaultPermissions,
    readOnly: settings.readOnly,
    nonempty: settings.nonempty,
    ...kernelFlags(settings.flags),
  };
}

/** What of the kernel's flags the superblock must know itself: times and syncing are the server's business. */
function superFlags(settings: MountSettings): number {
  const flags = kernelFlags(settings.flags);
  return (
    (settings.readOnly ? SB_RDONLY : 0) |
    (flags.sync ? SB_SYNCHRONOUS : 0) |
    (flags.dirsync ? SB_DIRSYNC : 0) |
    (flags.noatime ? SB_NOATIME : 0) |
    (flags.nodiratime ? SB_NODIRATIME : 0)
  );
}

/** Mount, and serve until the end; in the background unless asked otherwise. @throws CliError */
export async function mountCommand(given: string, mountpoint: string, flags: MountFlags): Promise<void> {
  const settings = parseOptions(flags.options);
  settings.transport ??= flags.transport;
  const source = isMemory(given) ? given : absolute(given);
  if (settings.remount) return remount(mountpoint, settings);
  const passed = passedDescriptor(mountpoint);
  try {
    if (passed === undefined) {
      checkDevice();
      checkMountpoint(mountpoint, kernelOptions(settings, given));
    } else adoptDescriptor(passed);
    if (settings.transport === 'fuse-native') loadNative();
  } catch (error) {
    throw asCliError(error);
  }
  if (flags.foreground !== true && !isDaemon()) {
    await daemonise(process.argv.slice(2), passed);
    return;
  }
  const log = openLog({ level: flags.logLevel, ...fileOf(settings.log ?? flags.log) });
  try {
    await run(source, resolve(mountpoint), { ...settings, fsname: settings.fsname ?? given }, log);
  } catch (error) {
    const failure = asCliError(error);
    if (!isDaemon()) throw failure;
    await tellParent({ failed: describe(failure), status: failure instanceof CliError ? failure.status : 1 });
    process.exit(1);
  }
}

function fileOf(file: string | undefined): { file?: string } {
  return file === undefined ? {} : { file };
}

function absolute(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** mount -o remount goes to the kernel: the flags that can be changed are its own. @throws CliError */
function remount(mountpoint: string, settings: MountSettings): void {
  const options = ['remount', settings.readOnly ? 'ro' : 'rw', ...settings.flags].join(',');
  const ran = spawnSync('mount', ['-i', '-o', options, mountpoint], {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  });
  if (ran.status === 0) return;
  const [said = ''] = (ran.error?.message ?? ran.stderr).trim().split('\n');
  throw new CliError(`${mountpoint} cannot be remounted: ${said.replace(/^mount: /, '')}`);
}

async function run(source: string, mountpoint: string, settings: MountSettings, log: Logger): Promise<void> {
  const violations = new ViolationHistory();
  const machine = newMachine({
    enforce: settings.enforce,
    stacks: settings.debug,
    sink: violations.sink(violationSink(log)),
    printk: (line) => log.warn(line),
    ...(settings.pageCache === undefined ? {} : { pageCache: settings.pageCache }),
    inMemory: isMemory(source),
  });
  const task = new Task(machine.sched, machine.validator, { comm: 'mount' });
  const bdev = openSource(machine, source, settings.size, settings.readOnly);
  await blkdev_get(task, bdev, settings.readOnly ? 'read' : 'write', machine);
  try {
    if (isMemory(source)) {
      const owner = { uid: settings.uid ?? process.getuid?.() ?? 0, gid: settings.gid ?? process.getgid?.() ?? 0 };
      await mkfs(task, bdev, { ...owner, journal: false });
    }
    const sb = await vfs_mount(machine, latch_fs_type, bdev, superFlags(settings));
    sb.kernelChecksPermissions = settings.defaultPermissions;
    const attach = () => addControl(sb, machine.validator, mountpoint, violations, log);
    await served(sb, settings.control ? attach : undefined, source, mountpoint, settings, log);
  } finally {
    await closed(task, bdev);
  }
}

async function closed(task: Task, bdev: BlockDevice): Promise<void> {
  await blkdev_put(task, bdev);
}

/** Between the filesystem's mount and its unmount: the kernel's mount, and the requests. */
async function served(
  sb: SuperBlock,
  addControlDirectory: (() => () => Promise<void>) | undefined,
  source: string,
  mountpoint: string,
  settings: MountSettings,
  log: Logger,
): Promise<void> {
  const removeControl = addControlDirectory?.();
  try {
    const way = settings.transport === 'fuse-native' ? serveNative : serve;
    await way(mountpoint, sb, log, {
      source,
      kernel: kernelOptions(settings, source),
      cache: settings.cache,
      readOnly: settings.readOnly,
      direct: settings.cache === 'none' || !isMemory(source),
      generated: settings.control,
      onReady: () => {
        if (!isDaemon()) return;
        // It must not keep the directory that it was started in busy.
        process.chdir('/');
        void tellParent({ ready: true });
      },
    });
  } finally {
    await removeControl?.();
    const busy = await kill_sb(sb);
    if (busy > 0) log.error({ busy }, `${busy} inodes were still in use at the unmount`);
  }
}
