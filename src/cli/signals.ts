/** What ends a daemon: SIGINT, SIGTERM, SIGHUP and SIGQUIT unmount; what cannot be unmounted is detached, and cut off if need be. */
import { mountsElsewhere } from '../block/mount-namespaces.js';
import { type Mounted, unmountFuse } from '../fuse/mount.js';
import { abortConnection, connectionOf, mountAt } from '../fuse/mountinfo.js';
import type { Logger } from '../report/log.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
/** Milliseconds that a clean unmount may take after a signal before the connection is cut. */
const PATIENCE = 3000;

/**
 * Unmount at a signal, until the function that is returned is called.
 * @param stop ends the serving from inside, where unmounting does not: a clone of the mount in another mount namespace keeps the connection alive
 */
export function unmountAtSignals(mounted: Mounted, log: Logger, stop: () => void): () => void {
  let asked = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (asked) return;
    asked = true;
    log.info({ signal }, `${signal}: unmounting ${mounted.mountpoint}`);
    void end(mounted, log, stop);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return () => {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  };
}

async function end(mounted: Mounted, log: Logger, stop: () => void): Promise<void> {
  if (mounted.way === 'descriptor') {
    stop();
    return;
  }
  // A timer that keeps nothing alive: it matters only while requests are served.
  setTimeout(() => {
    log.warn(`${mounted.mountpoint} is still used: cutting it off`);
    if (mounted.connection !== undefined) abortConnection(mounted.connection);
    stop();
  }, PATIENCE).unref();
  const mount = mountAt(mounted.mountpoint);
  if (mount === undefined || connectionOf(mount) !== mounted.connection) {
    log.warn(`${mounted.mountpoint} was unmounted, and is still used: ${users(mounted)}`);
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
}

/** Who may use what is not mounted here any more, for people. */
function users({ connection }: Mounted): string {
  const elsewhere = mountsElsewhere(({ device }) => {
    const [major, minor] = device.split(':').map(Number);
    return major !== undefined && minor !== undefined && connectionOf({ major, minor }) === connection;
  });
  if (elsewhere.length === 0) return 'by open files';
  return elsewhere.map(({ pid, comm }) => `by the mount namespace of process ${pid} (${comm})`).join(', ');
}
