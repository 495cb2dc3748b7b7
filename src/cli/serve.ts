/** Serving a mounted filesystem: from a live descriptor to a clean end. */
import type { SuperBlock } from '../fs/super-block.js';
import { FuseDevice } from '../fuse/device.js';
import { ServeLoop } from '../fuse/loop.js';
import { type Mounted, mountFuse, unmountFuse } from '../fuse/mount.js';
import { checkMountpoint } from '../fuse/mount-check.js';
import type { MountOptions } from '../fuse/mount-options.js';
import { connectionOf, mountAt } from '../fuse/mountinfo.js';
import { NativeTransport } from '../fuse/native.js';
import { Session } from '../fuse/session.js';
import { type CacheMode, validityOf } from '../fuse/session-options.js';
import type { Logger } from '../report/log.js';
import { unmountAtSignals } from './signals.js';

/** Bytes of data in the largest WRITE. */
const MAX_WRITE = 1 << 20;

export interface ServeOptions {
  /** What is mounted, in the user's words. */
  readonly source: string;
  /** What the kernel's mount is given. */
  readonly kernel: MountOptions;
  readonly cache: CacheMode;
  readonly readOnly: boolean;
  /** O_DIRECT goes past our own page cache. */
  readonly direct: boolean;
  /** It has a control directory. */
  readonly generated: boolean;
  /** Mounts of it may map identities. */
  readonly idmap: boolean;
  readonly exported: boolean;
  /** Called when the kernel and we have agreed on the protocol: the mount answers. */
  readonly onReady: () => void;
}

/** The last of a mount: to be called when the filesystem is unmounted and its device free, for that is what umount(2) of a disk waits for. */
export type Farewell = () => void;

/** Mount on /dev/fuse and serve until somebody unmounts, or a signal asks for the end. Everything that was open is closed then. @throws MountError */
export async function serve(mountpoint: string, sb: SuperBlock, log: Logger, options: ServeOptions): Promise<Farewell> {
  const mounted = mountFuse(mountpoint, options.kernel);
  const { source } = options;
  log.info({ source, mountpoint: mounted.mountpoint }, `${source} is mounted on ${mounted.mountpoint}`);
  const device = new FuseDevice(mounted.fd, MAX_WRITE);
  let loop: ServeLoop | undefined;
  const session = new Session(device, sb, { ...options, validity: validityOf(options.cache) }, log, () => loop?.stop());
  loop = new ServeLoop(device, session.handle, {
    running: () => sb.sched.runnable,
    wantsTurn: () => sb.sched.wantsTurn,
  });
  const ignoreSignals = unmountAtSignals(mounted, log, () => loop.stop());
  const count = (): void => log.info({ requests: session.requests() }, 'requests so far');
  process.on('SIGUSR2', count);
  const lost = (error: unknown): void => log.error({ err: error }, 'a failure that nobody waited for');
  process.on('unhandledRejection', lost);
  try {
    const why = await loop.run().finally(() => session.shutdown());
    log.info({ requests: session.requests() }, `${mounted.mountpoint} ${session.destroyed ? 'unmounted' : why}`);
  } catch (error) {
    device.close();
    // Without its server it would be a mount point on which everything fails.
    if (mounted.way !== 'descriptor') await unmountFuse(mounted.mountpoint, true).catch(() => undefined);
    throw error;
  } finally {
    process.off('SIGUSR2', count);
    process.off('unhandledRejection', lost);
    ignoreSignals();
  }
  return () => {
    session.farewell();
    device.close();
  };
}

/** As serve, through fuse-native. @throws MountError */
export async function serveNative(
  given: string,
  sb: SuperBlock,
  log: Logger,
  options: ServeOptions,
): Promise<Farewell> {
  const mountpoint = checkMountpoint(given, options.kernel);
  const transport = new NativeTransport(mountpoint, sb, options.kernel, log);
  await transport.mount(mountpoint);
  const info = mountAt(mountpoint);
  const mounted: Mounted = {
    fd: -1,
    mountpoint,
    way: 'direct',
    connection: info === undefined ? undefined : connectionOf(info),
  };
  const { source } = options;
  log.info({ source, mountpoint }, `${source} is mounted on ${mountpoint} through fuse-native`);
  const ignoreSignals = unmountAtSignals(mounted, log, () => transport.stop());
  try {
    options.onReady();
    await transport.run();
    log.info({ requests: transport.requests }, `${mountpoint} unmounted`);
  } finally {
    await transport.shutdown();
    ignoreSignals();
  }
  return () => undefined;
}
