/** The part of the workload that goes through the kernel: a filesystem in memory, mounted here, and a child process that uses it. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { blkdev_get, blkdev_put } from '../../block/block-device.js';
import { memoryDevice } from '../../block/memory-device.js';
import { kill_sb, vfs_mount } from '../../fs/super.js';
import { unmountFuse } from '../../fuse/mount.js';
import type { CacheMode } from '../../fuse/session-options.js';
import { mkfs } from '../../latch/mkfs.js';
import { latch_fs_type } from '../../latch/super.js';
import { openLog, violationSink } from '../../report/log.js';
import { ViolationHistory } from '../../report/violations.js';
import { Task } from '../../sched/task.js';
import type { LockObserver } from '../../sched/validator.js';
import { addControl } from '../control.js';
import { CliError } from '../error.js';
import { newMachine } from '../machine.js';
import { serve } from '../serve.js';

const SIZE = 64 * 2 ** 20;
const child = fileURLToPath(new URL('mount-child.js', import.meta.url));

/**
 * Mount with every cache mode, because the kernel asks something else in each, and let the child work there.
 * @throws CliError where the child fails; MountError where nothing can be mounted
 */
export async function onMounts(observer: LockObserver): Promise<void> {
  for (const cache of ['none', 'auto', 'always'] as const) await onMount(cache, observer);
}

async function onMount(cache: CacheMode, observer: LockObserver): Promise<void> {
  const log = openLog({ level: 'warn' });
  const violations = new ViolationHistory();
  const machine = newMachine({
    enforce: 'warn',
    stacks: false,
    sink: violations.sink(violationSink(log)),
    inMemory: true,
  });
  machine.validator.observer = observer;
  const device = memoryDevice(SIZE, machine.sched, machine.validator);
  const task = new Task(machine.sched, machine.validator, { comm: 'coverage' });
  await blkdev_get(task, device, 'write', machine);
  await mkfs(task, device);
  const sb = await vfs_mount(machine, latch_fs_type, device, 0);
  sb.kernelChecksPermissions = true;
  const mountpoint = mkdtempSync(join(tmpdir(), 'latchfs-coverage-'));
  const removeControl = addControl(sb, machine.validator, mountpoint, violations, log);
  try {
    let worked: Promise<void> = Promise.resolve();
    const ready = (): void => {
      worked = work(mountpoint).finally(() => unmountFuse(mountpoint, false));
      // It is waited for below, when nothing is served any more.
      worked.catch(() => undefined);
    };
    const kernel = { fsname: 'memory', subtype: 'latchfs', defaultPermissions: true };
    const options = { source: 'memory', cache, readOnly: false, direct: true, generated: true };
    await serve(mountpoint, sb, log, { ...options, kernel, onReady: ready });
    await worked;
  } finally {
    await removeControl();
    await kill_sb(sb);
    await blkdev_put(task, device);
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
