/** setlease asks its server for the lease and does not call generic_setlease: nobody would ever break it. */
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

async function setlease(): Promise<void> {
  await Promise.resolve();
}

export const planted: Planted = {
  bug: 'setlease does not record the lease',
  changes: { fops: { setlease } },
  provoke: async ({ sys }) => {
    await sys.close(await sys.open('/f', O_CREAT | O_RDWR, 0o644));
    await sys.fcntl_lease(await sys.open('/f', 0), 'F_RDLCK');
  },
  reports: [
    {
      kind: 'promise',
      rule: 'file_operations.setlease#records-through-generic_setlease',
      op: 'file_operations.setlease',
      held: [],
      at: 'setlease',
    },
  ],
};
