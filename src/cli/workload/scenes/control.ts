/** Scenes of the control directory, and of what else has no device. */
import { attachControl } from '../../../control/automount.js';
import { controlFiles } from '../../../control/files.js';
import { FASYNC, O_RDWR } from '../../../fs/open-flags.js';
import type { SuperBlock } from '../../../fs/super-block.js';
import { Lockdep } from '../../../locking/lockdep.js';
import { ViolationHistory } from '../../../report/violations.js';
import { Task } from '../../../sched/task.js';
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
        const missing = await said(sys.stat('/.latchfs/none'));
        return [pipe, listed, info, refused, missing];
      }),
  },
];
