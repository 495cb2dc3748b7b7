/** Going to the background: the parent waits until the mount is live, and its exit status says whether it is. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { CliError } from './error.js';

/** What the daemon tells the parent that waits for it. */
type Word = { readonly ready: true } | { readonly failed: string; readonly status: 1 | 2 };

const MARK = 'LATCHFS_DAEMON';

/** True in the process that was started to serve. */
export function isDaemon(): boolean {
  return process.env[MARK] === '1' && process.send !== undefined;
}

const endBySignal = (): void => {
  process.kill(process.pid, 'SIGTERM');
};

/** In the daemon: end as at a signal if whoever waits for the mount is gone before it is live, by Ctrl-C, say. */
export function endWithParent(): void {
  if (process.connected) process.once('disconnect', endBySignal);
  else endBySignal();
}

/** What the daemon inherits: nothing but the channel, and the device that it is to serve where that was passed. */
function stdio(device: number | undefined): ('ignore' | 'ipc' | number)[] {
  const channel = device === 3 ? 4 : 3;
  const list: ('ignore' | 'ipc' | number)[] = Array.from(
    { length: Math.max(channel, device ?? 0) + 1 },
    () => 'ignore',
  );
  list[channel] = 'ipc';
  if (device !== undefined) list[device] = device;
  return list;
}

/**
 * Start this command again as a daemon of its own session, and wait until it says that the mount is live.
 * @param device a descriptor of /dev/fuse that this process was given, to be passed on under its number
 * @throws CliError with the daemon's own words where it failed
 */
export async function daemonise(args: readonly string[], device?: number): Promise<void> {
  const main = fileURLToPath(new URL('main.js', import.meta.url));
  const child = fork(main, [...args], {
    detached: true,
    stdio: stdio(device),
    env: { ...process.env, [MARK]: '1' },
  });
  await new Promise<void>((resolve, reject) => {
    child.once('message', (word: Word) => {
      if ('ready' in word) resolve();
      else reject(new CliError(word.failed, word.status));
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      reject(
        new CliError(
          `the daemon ended before the mount was live (${signal ?? `exit status ${code}`}): with -f it says why`,
        ),
      );
    });
  });
  child.disconnect();
  child.unref();
}

/** In the daemon: say how it went, once, and let the parent go. */
export function tellParent(word: Word): Promise<void> {
  return new Promise((resolve) => {
    process.off('disconnect', endBySignal);
    if (process.send === undefined) {
      resolve();
      return;
    }
    process.send(word, () => {
      if (process.connected) process.disconnect();
      resolve();
    });
  });
}
