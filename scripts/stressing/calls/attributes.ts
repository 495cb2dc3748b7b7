/** Attributes of files, and locks on them. */
import { AT_FDCWD, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN } from '../../../src/uapi/fcntl.js';
import { FS_IOC_GETFLAGS } from '../../../src/uapi/ioctl.js';
import { type Call, nap, pick } from './call.js';

export const ATTRIBUTES: readonly Call[] = [
  { name: 'chmod', weight: 2, run: (a) => a.sys.chmod(a.path(), 0o600 + a.choose(64)) },
  { name: 'chown', weight: 2, run: (a) => a.sys.lchown(a.path(), a.choose(3), a.choose(3)) },
  {
    name: 'utimensat',
    weight: 1,
    run: (a) =>
      a.sys.utimensat(AT_FDCWD, a.path(), [
        { sec: a.choose(1000), nsec: 0 },
        { sec: 5, nsec: a.choose(1000) },
      ]),
  },
  {
    name: 'setxattr',
    weight: 4,
    run: (a) => a.sys.setxattr(a.path(), `user.${a.choose(5)}`, a.bytes(pick(a, 50, 3000))),
  },
  { name: 'getxattr', weight: 2, run: (a) => a.sys.getxattr(a.path(), `user.${a.choose(5)}`) },
  { name: 'listxattr', weight: 2, run: (a) => a.sys.listxattr(a.path()) },
  { name: 'removexattr', weight: 2, run: (a) => a.sys.removexattr(a.path(), `user.${a.choose(5)}`) },
  { name: 'getflags', weight: 1, run: (a) => a.sys.ioctl(a.fd(), FS_IOC_GETFLAGS, Buffer.alloc(4)) },
  { name: 'statfs', weight: 1, run: (a) => a.sys.statfs(a.path()) },
  {
    name: 'fcntl lock',
    weight: 4,
    run: (a) =>
      a.sys.fcntl_lock(a.fd(), {
        l_type: pick(a, 'F_RDLCK', 'F_WRLCK', 'F_UNLCK'),
        l_start: a.choose(50),
        l_len: a.choose(50),
      }),
  },
  { name: 'flock', weight: 3, run: (a) => a.sys.flock(a.fd(), pick(a, LOCK_SH | LOCK_NB, LOCK_EX | LOCK_NB, LOCK_UN)) },
  {
    // It is given back at once: who opens the file that it has leased itself waits for itself, as on Linux.
    name: 'lease',
    weight: 2,
    run: async (a) => {
      const fd = a.fd();
      await a.sys.fcntl_lease(fd, pick(a, 'F_RDLCK', 'F_WRLCK'));
      await nap(a, a.choose(5));
      await a.sys.fcntl_lease(fd, 'F_UNLCK');
    },
  },
  {
    name: 'wait for a lock',
    weight: 2,
    run: async (a) => {
      const fd = a.fd();
      const [l_start, l_len] = [a.choose(50), 1 + a.choose(20)];
      const waiting = a.sys.fcntl_lock(fd, { l_type: 'F_WRLCK', l_start, l_len }, true);
      const over = waiting.then(
        () => a.sys.fcntl_lock(fd, { l_type: 'F_UNLCK', l_start, l_len }),
        () => undefined,
      );
      await Promise.race([over, nap(a, 5)]);
      a.process.signal('SIGALRM');
      await over;
    },
  },
];
