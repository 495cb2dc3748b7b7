/** The part of the workload that goes through the kernel: a filesystem in memory, mounted here, and a child process that uses it. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unmountFuse } from '../../fuse/mount.js';
import type { CacheMode } from '../../fuse/session-options.js';
import { openLog } from '../../report/log.js';
import type { LockObserver } from '../../sched/validator.js';
import { CliError } from '../error.js';
import { mkfsCommand } from '../image.js';
import { defaultSettings } from '../mount-options.js';
import { serveFilesystem } from '../mount-serve.js';

const SIZE = 64 * 2 ** 20;
const child = fileURLToPath(new URL('mount-child.js', import.meta.url));

/**
 * Mount with every cache mode, because the kernel asks something else in each, and an image, and let the child work there.
 * @throws CliError where the child fails; MountError where nothing can be mounted
 */
export async function onMounts(observer: LockObserver): Promise<void> {
  for (const cache of ['none', 'auto', 'always'] as const) await onMount('memory', cache, observer);
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-coverage-'));
  try {
    const image = join(scratch, 'image');
    await mkfsCommand(image, { size: String(SIZE) });
    await onMount(image, 'auto', observer);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

async function onMount(source: string, cache: CacheMode, observer: LockObserver): Promise<void> {
  const mountpoint = mkdtempSync(join(tmpdir(), 'latchfs-coverage-'));
  let worked: Promise<void> = Promise.resolve();
  const onReady = (): void => {
    worked = work(mountpoint).finally(() => unmountFuse(mountpoint, false));
    // It is waited for below, when nothing is served any more.
    worked.catch(() => undefined);
  };
  const settings = { ...defaultSettings(), cache, size: SIZE };
  try {
    await serveFilesystem(source, mountpoint, settings, openLog({ level: 'warn' }), { onReady, observer });
    await worked;
  } finally {
    rmdirSync(mountpoint);
  }
}

/** Run the child in the mount. */
function work(mountpoint: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const started = spawn(process.execPath, ['--enable-source-maps', child], {
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, LATCHFS_WORK: mountpoint },
    });
    let said = '';
    started.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    started.on('error', reject);
    started.on('close', (status) => {
      if (status === 0) resolve();
      else reject(new CliError(`the workload on ${mountpoint} failed: ${said.trim()}`));
    });
  });
}
