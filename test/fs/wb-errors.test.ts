/** Errors of writing back: each open file hears of them once, and so does who syncs the whole filesystem. */
import t from 'tap';
import { O_CREAT, O_RDWR } from '../../src/fs/open-flags.js';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { newWorld, outcome } from './world.js';

t.test('every open file is told once', async (t) => {
  let broken = false;
  const world = await newWorld({
    // Data are written in pages of ones, which no metadata are.
    faults: ({ op, length }) => (broken && op === 'write' && length >= 4096 ? { error: 'EIO' } : undefined),
  });
  const process = new Process(world.sb);
  const sys = syscalls(process);
  const [a, b] = [await sys.open('/f', O_CREAT | O_RDWR, 0o644), await sys.open('/f', O_RDWR)];
  const other = await sys.open('/g', O_CREAT | O_RDWR, 0o644);
  await sys.sync();
  await sys.pwrite(a, Buffer.alloc(4096, 1), 0);
  broken = true;
  t.equal(await outcome(() => sys.fsync(a)), 'EIO', 'the one that syncs');
  broken = false;
  t.equal(await outcome(() => sys.fsync(a)), 'ok', 'is told once');
  t.equal(await outcome(() => sys.fsync(b)), 'EIO', 'the other open file as well');
  t.equal(await outcome(() => sys.fsync(b)), 'ok');
  t.equal(await outcome(() => sys.fsync(other)), 'ok', 'another file has no error');
  t.equal(await outcome(() => sys.syncfs(other)), 'EIO', 'but syncfs is about all');
  t.equal(await outcome(() => sys.syncfs(other)), 'ok');
  const late = await sys.open('/f', O_RDWR);
  t.equal(await outcome(() => sys.fsync(late)), 'ok', 'who opens it after somebody was told has missed it');
  for (const fd of [a, b, other, late]) await sys.close(fd);
  await process.exit();
  await world.end();
});
