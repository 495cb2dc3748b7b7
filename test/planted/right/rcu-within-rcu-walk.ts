/** d_revalidate enters an RCU section within that of the walk, and asks to be called again by reference where it would wait. */

import type { Dentry } from '../../../src/fs/dentry.js';
import { LOOKUP_RCU } from '../../../src/fs/namei/lookup.js';
import type { Awaitable } from '../../../src/sched/awaitable.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';

const asked = { rcu: 0, reference: 0 };

function d_revalidate(task: Task, dentry: Dentry, flags: number): Awaitable<boolean> {
  if ((flags & LOOKUP_RCU) === 0) {
    asked.reference++;
    return task.sched.yield().then(() => true);
  }
  using _section = dentry.d_sb.rcu.read(task);
  asked.rcu++;
  throw errno('ECHILD');
}

export const unusual: Unusual = {
  what: 'RCU sections nest, and a walk falls back from one',
  changes: { dentry: { d_revalidate } },
  use: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.stat('/f');
    return asked.rcu > 0 && asked.reference > 0;
  },
};
