/** Making, opening, finding and removing names. */
import {
  AT_FDCWD,
  O_APPEND,
  O_CREAT,
  O_DIRECT,
  O_DIRECTORY,
  O_EXCL,
  O_NONBLOCK,
  O_RDWR,
  O_SYNC,
  O_TMPFILE,
  O_TRUNC,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from '../../../src/uapi/fcntl.js';
import { type Call, pick } from './call.js';

export const NAMES: readonly Call[] = [
  {
    name: 'open',
    weight: 14,
    run: async (a) => {
      const how = pick(
        a,
        O_CREAT,
        O_CREAT,
        O_CREAT | O_EXCL,
        O_TRUNC,
        O_APPEND | O_CREAT,
        O_DIRECT,
        O_SYNC,
        O_NONBLOCK,
      );
      await a.opened(await a.sys.open(a.path(), O_RDWR | how, 0o644));
    },
  },
  {
    name: 'openat2',
    weight: 4,
    run: async (a) => {
      const resolve = pick(a, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_CACHED, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV);
      const made = pick(a, 0, O_CREAT);
      const how = { flags: O_RDWR | made, mode: made === 0 ? 0 : 0o644, resolve };
      await a.opened(await a.sys.openat2(pick(a, AT_FDCWD, a.fd()), a.path().slice(a.choose(2)), how));
    },
  },
  { name: 'open directory', weight: 4, run: async (a) => a.opened(await a.sys.open(a.path(), O_DIRECTORY)) },
  {
    name: 'tmpfile',
    weight: 2,
    run: async (a) => {
      const fd = await a.sys.open(`/d${a.choose(3)}`, O_TMPFILE | O_RDWR, 0o600);
      await a.opened(fd);
      await a.sys.linkat(fd, '', AT_FDCWD, a.path(), 0x1000);
    },
  },
  {
    name: 'close',
    weight: 8,
    run: async (a) => {
      const [fd] = a.fds.splice(a.choose(Math.max(1, a.fds.length)), 1);
      if (fd !== undefined) await a.sys.close(fd);
    },
  },
  { name: 'mkdir', weight: 4, run: (a) => a.sys.mkdir(`/d${a.choose(3)}/e${a.choose(3)}`, 0o755) },
  { name: 'rmdir', weight: 3, run: (a) => a.sys.rmdir(`/d${a.choose(3)}/e${a.choose(3)}`) },
  { name: 'unlink', weight: 6, run: (a) => a.sys.unlink(a.path()) },
  { name: 'link', weight: 4, run: (a) => a.sys.link(a.path(), a.path()) },
  { name: 'symlink', weight: 2, run: (a) => a.sys.symlink(a.path(), a.path()) },
  { name: 'readlink', weight: 2, run: (a) => a.sys.readlink(a.path()) },
  { name: 'mknod', weight: 1, run: (a) => a.sys.mknod(a.path(), 0o140644) },
  { name: 'rename', weight: 8, run: (a) => a.sys.rename(a.path(), a.path()) },
  {
    name: 'renameat2',
    weight: 4,
    run: (a) => a.sys.renameat2(AT_FDCWD, a.path(), AT_FDCWD, a.path(), pick(a, 1, 2, 4)),
  },
  { name: 'stat', weight: 8, run: (a) => a.sys.stat(a.path()) },
  { name: 'access', weight: 2, run: (a) => a.sys.access(a.path(), a.choose(8)) },
  { name: 'getdents', weight: 5, run: (a) => a.sys.getdents(a.fd(), 1 + a.choose(20)) },
  {
    name: 'chdir',
    weight: 1,
    run: async (a) => {
      await a.sys.chdir(a.path());
      return a.sys.getcwd();
    },
  },
];
