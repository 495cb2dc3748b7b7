/** `latchfs mount SOURCE MOUNTPOINT`: what can be said before anything is mounted, and going into the background. What serves is in mount-serve.ts. */
import { spawnSync } from 'node:child_process';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join, parse, resolve } from 'node:path';
import { checkDevice, checkMountpoint } from '../fuse/mount-check.js';
import { adoptDescriptor, passedDescriptor } from '../fuse/mount-fd.js';
import { MountError } from '../fuse/mount-options.js';
import { daemonise, endWithParent, isDaemon, tellParent } from './daemon.js';
import { CliError, describe } from './error.js';
import { checkType, isLatch } from './filesystem.js';
import { kernelOptions, type MountSettings, parseOptions, type TransportName } from './mount-options.js';
import { checkSettings } from './mount-settings.js';
import { checkReachable } from './reach.js';
import { isMemory } from './size.js';

/** What commander gives of the command line. */
export interface MountFlags {
  readonly options: readonly string[];
  readonly foreground?: boolean;
  readonly log?: string;
  readonly logLevel: string;
  readonly transport: TransportName;
  readonly type?: string;
}

/** Mount, and serve until the end; in the background unless asked otherwise. @throws CliError */
export async function mountCommand(given: string, mountpoint: string, flags: MountFlags): Promise<void> {
  if (isDaemon()) endWithParent();
  for (const [name, value] of Object.entries({ source: given, 'mount point': mountpoint, '--log': flags.log }))
    if (value === '') throw new CliError(`the ${name} is empty`, 2);
  const settings = parseOptions(flags.options);
  settings.transport ??= flags.transport;
  settings.type ??= flags.type;
  if (settings.type !== undefined) checkType(settings.type);
  const source = isMemory(given) ? given : absolute(given);
  checkReachable(mountpoint);
  if (!isMemory(given)) checkReachable(given);
  if (settings.remount) return remount(mountpoint, settings);
  // The daemon is given the same, and who waits for it has been told.
  const hints = checkSettings(source, settings, flags.options);
  if (!isDaemon()) for (const hint of hints) process.stderr.write(`latchfs: warning: ${hint}\n`);
  const passed = passedDescriptor(mountpoint);
  try {
    if (passed === undefined) {
      checkDevice();
      checkMountpoint(mountpoint, kernelOptions(settings, given));
    } else adoptDescriptor(passed);
    if (settings.transport === 'fuse-native') (await import('../fuse/native.js')).loadNative();
  } catch (error) {
    throw error instanceof MountError ? new CliError(error.message) : error;
  }
  if (flags.foreground !== true && !isDaemon()) {
    await daemonise(process.argv.slice(2), passed);
    return;
  }
  // The filesystem is loaded only by the process that serves it.
  const { mountAndServe } = await import('./mount-serve.js').catch(failedToLoad);
  // A name that was asked for is the one to be shown, else the whole path, as mount(8) shows it.
  const { type } = settings;
  const name = isLatch(settings) || !isMemory(source) || type === undefined ? source : parse(type).name;
  const shown = { fsname: settings.fsname ?? name, blkdev: settings.blkdev && settings.fsname === undefined };
  await mountAndServe(source, resolve(mountpoint), { ...settings, ...shown }, flags);
}

/** The daemon has no other way to say that it lacks files or memory. */
async function failedToLoad(error: unknown): Promise<never> {
  if (!isDaemon()) throw error;
  await tellParent({ failed: describe(error), status: 1 });
  process.exit(1);
}

/** Whether the server itself writes nothing, as far as can be seen. */
function servedReadOnly(mountpoint: string): boolean {
  try {
    const [first = ''] = readFileSync(join(mountpoint, '.latchfs', 'mounts'), 'utf8').split('\n');
    return first.split(' ')[3]?.split(',')[0] === 'ro';
  } catch {
    return false;
  }
}

function absolute(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/**
 * Put all on the device: nobody expects a read-only filesystem to be written later, but on a remount the kernel tells only the server of a disk to
 * sync. First what the kernel keeps itself, then what the server does.
 */
function syncBefore(mountpoint: string): void {
  spawnSync('sync', ['-f', mountpoint], { stdio: 'ignore' });
  try {
    writeFileSync(join(mountpoint, '.latchfs', 'control'), 'sync');
  } catch {
    // Read-only already, or without a control directory: the server writes it in its own time.
  }
}

/** mount -o remount goes to the kernel: the flags that can be changed are its own. @throws CliError */
function remount(mountpoint: string, settings: MountSettings): void {
  // The kernel says yes to rw, and then every write fails.
  if (!settings.readOnly && servedReadOnly(mountpoint))
    throw new CliError(`${mountpoint} was mounted read-only, and stays so: umount ${mountpoint}, and mount it anew`);
  if (settings.readOnly) syncBefore(mountpoint);
  const options = ['remount', settings.readOnly ? 'ro' : 'rw', ...settings.flags].join(',');
  const ran = spawnSync('mount', ['-i', '-o', options, mountpoint], {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  });
  if (ran.status === 0) return;
  const [said = ''] = (ran.error?.message ?? ran.stderr).trim().split('\n');
  throw new CliError(`${mountpoint} cannot be remounted: ${said.replace(/^mount: /, '')}`);
}
