/** When a write takes privileges of a file away: with the first byte, and not before it is known that there will be one. */

import t from 'tap';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { newWorld, outcome } from './world.js';

const CAPABILITY = 'security.capability';

t.test('a write that fails or writes nothing leaves capabilities and setuid', async (t) => {
  const world = await newWorld();
  const root = new Process(world.sb, { fsize: 4096 });
  const sys = syscalls(root);
  const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o755);
  await sys.setxattr('/f', CAPABILITY, Buffer.alloc(20, 1));
  await sys.chmod('/f', 0o6755);
  const kept = (): Promise<string> => outcome(() => sys.getxattr('/f', CAPABILITY));
  t.equal(await outcome(() => sys.pwrite(fd, Buffer.alloc(1), 8192)), 'EFBIG');
  t.equal(await kept(), 'ok', 'beyond RLIMIT_FSIZE');
  t.equal(await outcome(() => sys.pwrite(fd, Buffer.alloc(1), 2 ** 50)), 'EFBIG');
  t.equal(await sys.pwrite(fd, Buffer.alloc(0), 0), 0);
  t.equal(await kept(), 'ok', 'nothing');
  t.equal(await sys.pwrite(fd, Buffer.alloc(8), 4092), 4);
  t.equal(await kept(), 'ENODATA', 'a part');
  t.equal((await sys.stat('/f')).mode & 0o7777, 0o6755);
  await root.exit();
  await world.end();
  t.same(world.violations, []);
});
