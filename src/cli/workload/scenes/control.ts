/** Scenes of the control directory, and of what else has no device. */

import { attachControl } from '../../../control/automount.js';
import { controlFiles } from '../../../control/files.js';
import type { SuperBlock } from '../../../fs/super-block.js';
import { infoOf } from '../../../latch/info.js';
import { latch_force_shutdown } from '../../../latch/shutdown.js';
import { Lockdep } from '../../../locking/lockdep.js';
import { ViolationHistory } from '../../../report/violations.js';
import { Task } from '../../../sched/task.js';
import { WaitQueue } from '../../../sched/wait.js';
import { FASYNC, O_RDWR } from '../../../uapi/fcntl.js';
import { MNT_FORCE } from '../../../uapi/mount.js';
import { names, type Scene, said } from './scene.js';

/** Give a filesystem its control directory for as long as `body` runs. */
async function withControl<T>(sb: SuperBlock, body: () => Promise<T>): Promise<T | string> {
  const { validator } = sb.machine;
  if (!(validator instanceof Lockdep)) return 'no validator';
  const files = controlFiles({
    sb,
    validator,
    violations: new ViolationHistory(),
    mountpoint: '/',
    contract: () => '',
    shutdown: (task, flags) => latch_force_shutdown(task, infoOf(sb), flags),
    refused: () => undefined,
  });
  const task = new Task(sb.sched, validator, { comm: 'control' });
  const remove = attachControl(task, sb, files, { uid: 0, gid: 0 });
  try {
    return await body();
  } finally {
    await remove(task);
  }
}

export const CONTROL: readonly Scene[] = [
  {
    name: 'control',
    run: async (sys, other, sb) =>
      withControl(sb, async () => {
        const [from, to] = await sys.pipe2(0);
        const pipe = (await sys.fd_path(from)).replace(/\d+/, 'N');
        await sys.close(from);
        await sys.close(to);
        const listed = await names(sys, '/.latchfs');
        const control = await other.open('/.latchfs/control', O_RDWR);
        const info = (await other.fdinfo(control)).includes('content-bytes');
        const refused = await said(other.fcntl_setfl(control, FASYNC));
        await other.write(control, Buffer.from('sync\n'));
        await other.close(control);
        const mounts = await sys.open('/.latchfs/mounts', 0);
        const shown = String(await sys.read(mounts, 7));
        await sys.close(mounts);
        const missing = await said(sys.stat('/.latchfs/none'));
        const waiting = said(sys.open('/.latchfs/next_violation', 0));
        while ((await names(other, '/.latchfs/task')).length < 3) await sb.sched.yield();
        await other.umount2('/.latchfs', MNT_FORCE);
        const ended = await waiting;
        return [pipe, listed, info, refused, shown, missing, ended];
      }),
  },
  {
    name: 'tasks that sleep',
    run: async (sys, other, sb) =>
      withControl(sb, async () => {
        await sys.mkdir('/d', 0o755);
        const dir = sb.inodeHash.get((await sys.stat('/d')).ino);
        if (dir === undefined) return 'no inode';
        // One sleeps with the directory locked, and another one waits for it.
        const holder = new Task(sb.sched, sb.machine.validator, { comm: 'holder' });
        const queue = new WaitQueue();
        const held = await dir.i_rwsem.write(holder);
        const asleep = queue.wait(holder, { what: 'the end of the scene' });
        const waiting = other.mkdir('/d/x', 0o755);
        const listed = (await names(sys, '/.latchfs/task')).filter((name) => /\d/.test(name));
        const id = listed.find((name) => Number(name) !== holder.id) ?? 'none';
        await sys.chdir(`/.latchfs/task/${id}`);
        const status = await sys.open('blocker/status', 0);
        const about = String(await sys.read(status, 100)).includes('the end of the scene');
        await sys.close(status);
        const blocker = (await sys.readlink('blocker')) === `../${holder.id}`;
        const here = (await sys.stat('.')).ino === (await sys.stat(`../${id}`)).ino;
        queue.wake_all();
        await asleep;
        held.release();
        await waiting;
        const gone = [await said(sys.stat('.')), await said(sys.stat(`/.latchfs/task/${id}`))];
        await sys.chdir('/');
        return [listed.length, about, blocker, here, gone];
      }),
  },
];
