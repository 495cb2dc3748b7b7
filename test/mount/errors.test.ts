/** Bad input: one line that names the thing and the remedy, the right status, nothing left mounted. */
import { copyFileSync, mkdirSync, mkdtempSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { latchfs, run } from './harness.js';

const scratch = mkdtempSync(join(tmpdir(), 'latchfs-errors-'));
const empty = join(scratch, 'empty');
mkdirSync(empty);
mkdirSync(join(scratch, 'full'));
writeFileSync(join(scratch, 'full', 'file'), '');
writeFileSync(join(scratch, 'file'), '');
t.teardown(() => run('rm', ['-rf', scratch]));

async function refused(t: Test, args: string[], status: number, message: RegExp): Promise<void> {
  const ran = await run(latchfs, args, { timeout: 30_000 });
  t.equal(ran.status, status, `${args.join(' ')}: ${ran.stderr}`);
  t.match(ran.stderr, message, 'it names the thing');
  t.notMatch(ran.stderr, /\n\s+at /, 'no stack');
}

t.test('mount points', async (t) => {
  await refused(t, ['mount', 'memory', join(scratch, 'none')], 1, /none does not exist: mkdir/);
  await refused(t, ['mount', 'memory', join(scratch, 'file')], 1, /file is not a directory/);
  await refused(t, ['mount', 'memory', join(scratch, 'full')], 1, /full is not empty/);
  await refused(t, ['umount', empty], 1, /empty is not mounted/);
});

t.test('images', async (t) => {
  const image = join(scratch, 'image');
  t.equal((await run(latchfs, ['mkfs', image, '--size', '16M'])).status, 0);
  await refused(t, ['mkfs', image], 1, /holds a latchfs already: --force/);
  await refused(t, ['mkfs', join(scratch, 'new')], 2, /does not exist: say how large/);
  await refused(t, ['mkfs', join(scratch, 'new'), '--size', 'much'], 2, /'much' is not a size/);
  await refused(t, ['mkfs', join(scratch, 'tiny'), '--size', '4K'], 1, /too small/);
  await refused(t, ['mount', join(scratch, 'absent'), empty], 1, /absent: there is no such image; make one with/);
  const damage = (name: string, change: (path: string) => void): string => {
    const path = join(scratch, name);
    copyFileSync(image, path);
    change(path);
    return path;
  };
  const poke = (offset: number, bytes: number[]) => (path: string) => {
    writeSync(openSync(path, 'r+'), Buffer.from(bytes), 0, bytes.length, offset);
  };
  await refused(t, ['mount', damage('foreign', poke(1024, [0])), empty], 1, /foreign holds no latchfs/);
  await refused(t, ['mount', damage('sum', poke(1024 + 70, [1, 2, 3])), empty], 1, /checksum is wrong/);
  await refused(t, ['mount', damage('newer', poke(1024 + 12, [9])), empty], 1, /newer format/);
  await refused(t, ['mount', damage('short', (path) => truncateSync(path, 8 << 20)), empty], 1, /is truncated/);
});

t.test('options', async (t) => {
  await refused(t, ['mount', 'memory', empty, '-o', 'frobnicate'], 2, /unknown option 'frobnicate'/);
  await refused(t, ['mount', 'memory', empty, '-o', 'cache=some'], 2, /must be one of none, auto, always/);
  await refused(t, ['mount', 'memory:lots', empty], 2, /'lots' is not a size/);
  await refused(t, ['contract', 'renam'], 1, /renam/);
  await refused(t, ['mount'], 2, /missing required argument|source/);
});

t.test('documents', async (t) => {
  await refused(t, ['contract', '--against', join(scratch, 'none')], 2, /none cannot be read/);
  await refused(t, ['contract', '--against', join(scratch, 'file')], 2, /file/);
  const dubious = await run(latchfs, ['contract', '--dubious']);
  t.equal(dubious.status, 0);
  t.match(dubious.stdout, /truncate/);
});

t.test('help and version', async (t) => {
  for (const args of [
    ['--help'],
    ['mount', '--help'],
    ['umount', '--help'],
    ['mkfs', '--help'],
    ['contract', '--help'],
  ]) {
    const ran = await run(latchfs, args);
    t.equal(ran.status, 0);
    t.match(ran.stdout, /Usage: latchfs/);
  }
  t.match((await run(latchfs, ['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  t.match((await run(latchfs, ['contract', 'rename'])).stdout, /i_rwsem/);
});
