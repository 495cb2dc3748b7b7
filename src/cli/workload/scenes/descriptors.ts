/** Scenes of descriptors and of an inode's attributes. */
import { AT_FDCWD, FASYNC, O_CREAT, O_NONBLOCK, O_RDWR } from '../../../uapi/fcntl.js';
import { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from '../../../uapi/ioctl.js';
import { create, type Scene, said } from './scene.js';

export const DESCRIPTORS: readonly Scene[] = [
  {
    name: 'descriptors',
    run: async (sys, other) => {
      const fd = await create(sys, '/d', 9000);
      const [from, to] = await sys.pipe2(O_NONBLOCK);
      await sys.fcntl_setfl(from, FASYNC | O_NONBLOCK);
      const empty = await sys.poll([{ fd: from, events: 1 }], 0);
      const through = await sys.splice(fd, 0, to, undefined, 4096);
      const full = await sys.poll([{ fd: from, events: 1 }], 0);
      const copy = await sys.open('/e', O_CREAT | O_RDWR, 0o644);
      const out = await sys.splice(from, undefined, copy, 100, 4096);
      await sys.write(to, Buffer.from('piped'));
      const read = String(await sys.read(from, 10));
      const sent = await sys.sendfile(copy, fd, 0, 3000);
      const advised = await said(Promise.resolve(sys.fadvise(fd, 0, 0, 4)));
      const cloned = await said(sys.clone_file_range(fd, 0, 4096, copy, 0));
      const second = await other.open('/e', O_RDWR);
      const size = (await other.fstat(second)).size;
      return [empty, full, through, out, read, sent, advised, cloned, size];
    },
  },
  {
    name: 'attributes',
    run: async (sys, other) => {
      const fd = await create(sys, '/t');
      await Promise.all([
        sys.chmod('/t', 0o600),
        other.setxattr('/t', 'user.a', Buffer.from('1')),
        sys.setxattr('/t', 'user.b', Buffer.alloc(300, 'x')),
      ]);
      await sys.chown('/t', 5, 6);
      await sys.utimensat(AT_FDCWD, '/t', [
        { sec: 5, nsec: 0 },
        { sec: 6, nsec: 0 },
      ]);
      const flags = await said(sys.ioctl(fd, FS_IOC_SETFLAGS, Buffer.from([0x40, 0, 0, 0])));
      const seen = [(await sys.listxattr('/t')).sort(), String(await sys.getxattr('/t', 'user.a')), flags];
      await sys.removexattr('/t', 'user.a');
      const got = await said(sys.ioctl(fd, FS_IOC_GETFLAGS, Buffer.alloc(4)));
      const { mode, uid, gid } = await other.stat('/t');
      return [seen, got, mode, uid, gid, (await said(sys.access('/t', 4))) === undefined];
    },
  },
];
