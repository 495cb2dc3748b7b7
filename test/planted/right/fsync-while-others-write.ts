/** Somebody writes while another syncs, and a page is written again that is on its way: what is dirty after that was dirtied meanwhile. */

import { faultyDevice } from '../../../src/block/faulty-device.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';

export const unusual: Unusual = {
  what: 'files are written while they are synced',
  changes: { device: (memory, sched, validator) => faultyDevice(memory, () => ({ delay: 3 }), sched, validator) },
  use: async ({ sys, other, machine }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    const second = await other.open('/f', O_RDWR);
    for (let i = 0; i < 6; i++) {
      await sys.pwrite(fd, Buffer.alloc(4096 * 3, i), 4096 * i);
      const synced = sys.fsync(fd);
      await other.pwrite(second, Buffer.alloc(4096 * 4, i), 4096 * (i + 1));
      await machine.sched.yield();
      await other.pwrite(second, Buffer.alloc(1, i), 4096 * 9);
      await synced;
    }
    await Promise.all([sys.fsync(fd), other.fdatasync(second), sys.sync()]);
    return (await sys.fstat(fd)).size > 0;
  },
};
