/** Serving a mounted filesystem: from a live descriptor to a clean end. */
import type { SuperBlock } from '../fs/super-block.js';
import { FuseDevice } from '../fuse/device.js';
import { ServeLoop } from '../fuse/loop.js';
import { type Mounted, unmountFuse } from '../fuse/mount.js';
import { abortConnection } from '../fuse/mountinfo.js';
import { Session } from '../fuse/session.js';
import { type CacheMode, validityOf } from '../fuse/session-options.js';
import type { Logger } from '../report/log.js';

/** Bytes of data in the largest WRITE. */
const MAX_WRITE = 1 << 20;
/** Milliseconds that a clean unmount may take after a signal before the mount is detached. */
const PATIENCE = 3000;

export interface ServeOptions {
  readonly cache: CacheMode;
  readonly readOnly: boolean;
  /** Called when the kernel and we have agreed on the protocol: the mount answers. */
  readonly onReady: () => void;
}

/** Serve until somebody unmounts, or SIGINT or SIGTERM asks for the end. Everything that was open is closed then. */
export async function serve(mounted: Mounted, sb: SuperBlock, log: Logger, options: ServeOptions): Promise<void> {
  const device = new FuseDevice(mounted.fd, MAX_WRITE);
  let loop: ServeLoop | undefined;
  const session = new Session(
    device,
    sb,
    { cache: options.cache, readOnly: options.readOnly, validity: validityOf(options.cache), onReady: options.onReady },
    log,
    () => loop?.stop(),
  );
  loop = new ServeLoop(device, session.handle, { running: () => sb.sched.runnable });
  const stop = (signal: NodeJS.Signals): void => {
    log.info({ signal }, `${signal}: unmounting ${mounted.mountpoint}`);
    void end(mounted, log, loop);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  process.on('SIGHUP', stop);
  try {
    const why = await loop.run();
    log.info({ requests: session.requests }, `${mounted.mountpoint} ${why}`);
  } finally {
    device.close();
    await session.shutdown();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, stop);
  }
}

/** Unmount; where somebody still uses the mount, detach it, and cut the connection if that does not end it either. */
async function end(mounted: Mounted, log: Logger, loop: ServeLoop | undefined): Promise<void> {
  if (mounted.way === 'descriptor') {
    loop?.stop();
    return;
  }
  try {
    await unmountFuse(mounted.mountpoint, false);
    return;
  } catch (error) {
    log.warn({ err: error }, `${mounted.mountpoint} is in use: detaching it`);
  }
  try {
    await unmountFuse(mounted.mountpoint, true);
  } catch (error) {
    log.error({ err: error }, `${mounted.mountpoint} cannot be detached`);
  }
  setTimeout(() => {
    if (mounted.connection === undefined || !abortConnection(mounted.connection)) loop?.stop();
  }, PATIENCE).unref();
}
