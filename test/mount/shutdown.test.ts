/** FS_IOC_SHUTDOWN through the kernel, which hands its argument over to nobody, and by the control file. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { latchfs, mount, othersNeedRoot, sh } from './harness.js';

const dir = mkdtempSync(join(tmpdir(), 'latchfs-shutdown-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));

/** FS_IOC_SHUTDOWN on the current directory. */
const ioctl = (flags: number, before = 'pass'): string =>
  `python3 -c "import fcntl,os,struct; ${before}; fcntl.ioctl(os.open('.', 0), 0x8004587d, struct.pack('I', ${flags}))"`;

const CONTROL = 'echo shutdown nologflush > .latchfs/control';
// Who makes a directory and shuts down right behind it: a few seconds later the transaction would be committed anyway, and on a busy machine a process takes as long to start.
for (const [name, command, last, late] of [
  ['the ioctl with DEFAULT', ioctl(0), ioctl(0, "os.mkdir('late')"), true],
  ['the ioctl with NOLOGFLUSH', ioctl(2), ioctl(2, "os.mkdir('late')"), false],
  ['the control file', CONTROL, `exec 3> .latchfs/control; mkdir late; echo shutdown nologflush >&3`, false],
] as const) {
  t.test(`${name}: EIO from then on, and the next mount recovers`, { skip: othersNeedRoot }, async (t) => {
    const image = join(dir, `image${t.fullname.length}`);
    t.equal((await sh(`${latchfs} mkfs ${image} --size 64M`)).status, 0);
    const m = await mount(image);
    await m.sh('echo safe > safe; mkdir d');
    const user = await m.sh(`setpriv --reuid 65534 --clear-groups ${command}`);
    t.match(user.stderr, /not permitted|denied/);
    t.match((await m.sh(ioctl(7))).stderr, /Invalid argument/);
    t.equal((await m.sh(`sync; ${last}`)).status, 0);
    const failing = ['echo more >> safe', 'mkdir e', 'rmdir d', 'mv safe other', 'touch n', 'sync .'];
    const said = (await m.sh(failing.map((each) => `! ${each}`).join('; '))).stderr;
    t.equal(said.match(/Input\/output error/g)?.length, failing.length, said);
    t.match((await m.sh('ls')).stdout, /safe/);
    t.match(m.log(), /was shut down/);
    t.notMatch(m.log(), /violation|a failure that nobody waited for/);
    t.equal(await m.unmount(), 0);
    const again = await mount(image);
    t.equal((await again.sh('cat safe; ls')).stdout, late ? 'safe\nd\nlate\nsafe\n' : 'safe\nd\nsafe\n');
    t.equal(await again.unmount(), 0);
    t.equal((await sh(`${latchfs} fsck ${image}`)).status, 0);
  });
}

t.test(
  'an argument that cannot be read is EFAULT, and one in a file of the mount itself is read',
  { skip: othersNeedRoot },
  async (t) => {
    const m = await mount('memory:64M');
    const call = (address: string): string =>
      `python3 -c "
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
open('f', 'wb').write(b'\\7' + bytes(4095))
f = os.open('f', os.O_RDWR)
page = mmap.mmap(f, 4096)
os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
print(libc.ioctl(os.open('.', 0), ctypes.c_ulong(0x8004587d), ctypes.c_void_p(${address})), os.strerror(ctypes.get_errno()))
"`;
    t.equal((await m.sh(call('16'))).stdout, '-1 Bad address\n');
    const mapped = 'ctypes.addressof(ctypes.c_char.from_buffer(page))';
    t.equal((await m.sh(call(mapped))).stdout, '-1 Invalid argument\n', '7 is no way to shut down');
    t.equal(await m.unmount(), 0);
  },
);
