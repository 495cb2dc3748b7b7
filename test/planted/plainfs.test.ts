/** The filesystem from which the wrong ones are derived does nothing wrong. */

import t from 'tap';
import { drop_caches } from '../../src/fs/drop-caches.js';
import { Task } from '../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { play } from './harness.js';

t.test('everything at once, and no report', async (t) => {
  const seen = await play('plainfs', {}, async ({ sys, sb, machine }) => {
    await sys.mkdir('/d', 0o755);
    const fd = await sys.open('/d/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('hello'));
    await sys.pwrite(fd, Buffer.from('world'), 10_000);
    await sys.fsync(fd);
    await drop_caches(new Task(machine.sched, machine.validator), sb, 1);
    t.same(await sys.pread(fd, 5, 0), Buffer.from('hello'));
    await sys.fallocate(fd, 3, 0, 4096);
    await sys.ftruncate(fd, 10);
    await sys.link('/d/f', '/g');
    await sys.rename('/d/f', '/h');
    await sys.mkdir('/d2', 0o755);
    await sys.rename('/d2', '/d/d3');
    t.equal((await sys.stat('/h')).nlink, 2);
    await sys.unlink('/g');
    await sys.rmdir('/d/d3');
    await sys.close(fd);
    await sys.unlink('/h');
    await sys.rmdir('/d');
  });
  t.same(
    seen.map(({ message }) => message),
    [],
  );
});
