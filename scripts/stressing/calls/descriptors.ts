/** Descriptors: pipes, splicing, polling; a file that is swapped to. */
import { FASYNC, O_CREAT, O_NONBLOCK, O_RDWR } from '../../../src/uapi/fcntl.js';
import { RWF_HIPRI } from '../../../src/uapi/fs.js';
import { type Call, nap, pick } from './call.js';

export const DESCRIPTORS: readonly Call[] = [
  {
    name: 'pipe',
    weight: 2,
    run: async (a) => {
      for (const fd of await a.sys.pipe2(O_NONBLOCK)) await a.opened(fd);
    },
  },
  { name: 'splice', weight: 4, run: (a) => a.sys.splice(a.fd(), undefined, a.fd(), undefined, 1 + a.choose(20_000)) },
  { name: 'read', weight: 4, run: (a) => a.sys.read(a.fd(), 1 + a.choose(9000)) },
  { name: 'polled read', weight: 3, run: (a) => a.sys.preadv2(a.fd(), 4096 * (1 + a.choose(9)), 0, RWF_HIPRI) },
  { name: 'poll', weight: 2, run: (a) => a.sys.poll([{ fd: a.fd(), events: 5 }], a.choose(3)) },
  { name: 'dup', weight: 2, run: async (a) => a.opened(await a.sys.dup(a.fd())) },
  { name: 'fasync', weight: 1, run: (a) => a.sys.fcntl_setfl(a.fd(), pick(a, FASYNC | O_NONBLOCK, O_NONBLOCK)) },
  {
    // Nothing is swapped to it unless memory is scarce, which it is.
    name: 'swap',
    weight: 1,
    run: async (a) => {
      const fd = await a.sys.open('/swap', O_CREAT | O_RDWR, 0o600);
      try {
        await a.sys.pwrite(fd, Buffer.alloc(2 ** 19), 0);
        await a.sys.fsync(fd);
        await a.sys.swapon(fd);
        await nap(a, a.choose(20));
        await a.sys.swapoff(fd);
      } finally {
        await a.sys.close(fd);
      }
    },
  },
];
