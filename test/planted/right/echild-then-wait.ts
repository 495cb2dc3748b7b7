/** d_revalidate refuses to answer in rcu-walk, and waits for its server when it is asked again by reference. */

import type { Dentry } from '../../../src/fs/dentry.js';
import { LOOKUP_RCU } from '../../../src/fs/namei/lookup.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';

const asked = { rcu: 0, reference: 0 };

function d_revalidate(task: Task, _dentry: Dentry, flags: number): Promise<boolean> {
  if ((flags & LOOKUP_RCU) !== 0) {
    asked.rcu++;
    throw errno('ECHILD');
  }
  asked.reference++;
  return task.sched.yield().then(() => true);
}

export const unusual: Unusual = {
  what: 'd_revalidate waits where it may',
  changes: { dentry: { d_revalidate } },
  use: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.stat('/f');
    return asked.rcu > 0 && asked.reference > 0;
  },
};
