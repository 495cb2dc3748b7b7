/** Bad input: one line that names the thing and the remedy, the right status, nothing left mounted. */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mountAt } from '../../src/fuse/mountinfo.js';
import { latchfs, run, withMount } from './harness.js';

const scratch = mkdtempSync(join(tmpdir(), 'latchfs-errors-'));
const empty = join(scratch, 'empty');
mkdirSync(empty);
mkdirSync(join(scratch, 'full'));
writeFileSync(join(scratch, 'full', 'file'), '');
writeFileSync(join(scratch, 'file'), '');
t.teardown(() => run('rm', ['-rf', scratch]));

/** `latchfs ARGS` says one line that names the thing, on stderr, and mounts nothing. @param prefix a command that runs it */
async function refused(t: Test, args: string[], status: number, message: RegExp, prefix: string[] = []): Promise<void> {
  const [command = '', ...rest] = [...prefix, latchfs, ...args];
  const ran = await run(command, rest, { timeout: 60_000 });
  t.equal(ran.status, status, `${args.join(' ')}: ${ran.stderr}`);
  t.match(ran.stderr, message, 'it names the thing');
  t.notMatch(ran.stderr, /\n\s+at /, 'no stack');
  t.equal(ran.stdout, '');
  if (!args.includes('contract')) t.equal(mountAt(empty), undefined, 'nothing is mounted');
}

const isRoot = process.geteuid?.() === 0;
const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];

t.test('mount points', async (t) => {
  await refused(t, ['mount', 'memory', join(scratch, 'none')], 1, /none does not exist: mkdir/);
  await refused(t, ['mount', 'memory', join(scratch, 'file')], 1, /file is not a directory/);
  await refused(t, ['mount', 'memory', join(scratch, 'full')], 1, /full is not empty/);
  await refused(t, ['umount', empty], 1, /empty is not mounted/);
});

t.test('mount points in use', { skip: !isRoot && 'needs root' }, async (t) => {
  const image = join(scratch, 'used');
  t.equal((await run(latchfs, ['mkfs', image, '--size', '16M'])).status, 0);
  await withMount(image, 'allow_other', async ({ dir }) => {
    await refused(t, ['mount', 'memory', dir], 1, /used is already mounted on .*: umount/);
    await refused(t, ['mount', image, empty], 1, /used is in use: it is mounted on .*latchfs umount/);
    const busy = await run('sh', ['-c', `cd ${dir} && ${latchfs} umount ${dir}`], { cwd: dir });
    t.equal(busy.status, 1);
    t.match(busy.stderr, /^latchfs: .* is in use: end what uses it \(fuser -m .*\), or unmount with --lazy\n$/);
  });
  await withMount('memory:16M', 'allow_other', async ({ dir, daemon }) => {
    const ended = new Promise((resolve) => daemon.once('exit', resolve));
    daemon.kill('SIGKILL');
    await ended;
    await refused(t, ['mount', 'memory', dir], 1, /a dead mount was left on/);
    t.same(await run(latchfs, ['umount', dir]), { status: 0, stdout: '', stderr: '' }, 'what is dead is cleared');
    t.equal(mountAt(dir), undefined);
  });
});

t.test('as an ordinary user', { skip: !isRoot && 'needs root' }, async (t) => {
  const mode = statSync('/dev/fuse').mode & 0o7777;
  const theirs = join(scratch, 'theirs');
  mkdirSync(theirs);
  chownSync(theirs, 65534, 65534);
  chmodSync(scratch, 0o755);
  const as = (extra: string[] = []): string[] => [...NOBODY, 'env', 'HOME=/tmp', ...extra];
  try {
    chmodSync('/dev/fuse', 0o600);
    await refused(t, ['mount', 'memory', theirs], 1, /^latchfs: \/dev\/fuse may not be opened .*chmod 666/, as());
    chmodSync('/dev/fuse', 0o666);
    await refused(t, ['mount', 'memory', empty], 1, /empty does not belong to this user: chown it/, as());
    await reach(t, theirs, as());
    const bare = mkdtempSync(join(scratch, 'bin-'));
    chmodSync(bare, 0o755);
    for (const tool of ['sh', 'env', 'node', 'readlink', 'dirname', 'setpriv', 'bash']) {
      const found = (await run('sh', ['-c', `command -v ${tool}`])).stdout.trim();
      if (found !== '') symlinkSync(found, join(bare, tool));
    }
    const without = as([`PATH=${bare}`]);
    await refused(t, ['mount', 'memory', theirs], 1, /fusermount3 is not installed.*apt-get install fuse3/, without);
  } finally {
    chmodSync('/dev/fuse', mode);
  }
});

/** What an ordinary user has no way to, or may not write. */
async function reach(t: Test, theirs: string, as: string[]): Promise<void> {
  const closed = join(scratch, 'closed');
  mkdirSync(closed, { mode: 0o700 });
  const [hidden, there, readable] = [join(closed, 'image'), join(scratch, 'secret'), join(scratch, 'readable')];
  for (const image of [hidden, there, readable])
    t.equal((await run(latchfs, ['mkfs', image, '--size', '16M'])).status, 0);
  chmodSync(there, 0o600);
  const noWay = /^latchfs: \S+ cannot be reached: this user may not enter \S+closed; choose another place\n$/;
  await refused(t, ['mount', readable, join(closed, 'x')], 1, noWay, as);
  await refused(t, ['mount', hidden, theirs], 1, noWay, as);
  await refused(t, ['mount', join(closed, 'none'), theirs], 1, noWay, as);
  await refused(t, ['mkfs', join(closed, 'none'), '--size', '16M'], 1, noWay, as);
  await refused(t, ['fsck', hidden], 8, noWay, as);
  await refused(t, ['mount', there, theirs], 1, /^latchfs: \S+secret: no permission to write it\n$/, as);
  const write = 'no permission to write it';
  await refused(t, ['mount', readable, theirs], 1, new RegExp(`${write}; mount it with -o ro to read it\n$`), as);
  await refused(t, ['fsck', '-y', readable], 8, new RegExp(`readable: ${write}\n$`), as);
  await refused(t, ['mkfs', readable], 1, new RegExp(`readable: ${write}\n$`), as);
}

t.test('what there is no way to', async (t) => {
  const circle = join(scratch, 'circle');
  symlinkSync('circle', circle);
  await refused(t, ['mount', 'memory', circle], 1, /circle cannot be reached: the symbolic links .* never end/);
  await refused(t, ['mkfs', circle, '--size', '16M'], 1, /circle cannot be reached: the symbolic links .* never end/);
  await refused(
    t,
    ['mount', 'memory', join(scratch, 'file', 'x')],
    1,
    /x does not exist: a part of its path is not a dir/,
  );
  await refused(
    t,
    ['mount', 'memory', 'x'.repeat(300)],
    1,
    /^latchfs: x{64}… is too long for a path; choose a shorter one\n$/,
  );
  await refused(t, ['fsck', 'x'.repeat(5000)], 8, /^latchfs: x{64}… is too long for a path; choose a shorter one\n$/);
  const pipe = join(scratch, 'pipe');
  t.equal((await run('mkfifo', [pipe])).status, 0);
  await refused(t, ['fsck', pipe], 8, /pipe is neither a file nor a block device/);
  await refused(t, ['mount', pipe, empty, '-o', 'ro'], 1, /pipe is neither a file nor a block device/);
});

t.test('words that are almost right', async (t) => {
  await refused(t, ['mount', 'memory', empty, '-o', 'allow-other'], 2, /'allow-other'; did you mean allow_other\?/);
  await refused(t, ['mount', 'memory', empty, '-o', 'READONLY'], 2, /'READONLY': 'latchfs mount --help' lists them/);
  await refused(t, ['mount', 'memory', empty, '-o', 'noexe'], 2, /'noexe'; did you mean noexec/);
  await refused(t, ['mount', 'memory', empty, '-o', 'usrquota=1'], 2, /'usrquota=1': usrquota takes no value/);
  await refused(t, ['mount', 'memory', empty, '-o', 'fsname='], 2, /option fsname: it needs a name/);
  await refused(t, ['unmount', empty], 2, /is called 'unmount'; did you mean .*umount/);
  await refused(t, [join(scratch, 'file')], 2, /where shall \S+file be mounted\? latchfs \S+file MOUNTPOINT/);
  await refused(t, ['mkfs', 'memory:1G'], 2, /memory:1G needs no mkfs: 'latchfs mount memory:1G MOUNTPOINT' makes it/);
  await refused(t, ['mkfs', '', '--size', '16M'], 2, /the name of the image is empty/);
  await refused(t, ['fsck', ''], 16, /the name of the image is empty/);
});

t.test('descriptors', async (t) => {
  await refused(t, ['mount', 'memory', '/dev/fd/87'], 1, /descriptor 87 is not open/);
  await refused(t, ['mount', 'memory', '/dev/fd/0'], 1, /descriptor 0 is not/);
});

t.test('images', async (t) => {
  const image = join(scratch, 'image');
  t.equal((await run(latchfs, ['mkfs', image, '--size', '16M'])).status, 0);
  await refused(t, ['mkfs', image], 1, /holds a latchfs already: --force/);
  await refused(t, ['mkfs', join(scratch, 'new')], 2, /does not exist: say how large/);
  await refused(t, ['mkfs', join(scratch, 'new'), '--size', 'much'], 2, /'much' is not a size/);
  await refused(t, ['mkfs', join(scratch, 'tiny'), '--size', '4K'], 1, /too small/);
  // No file can be so large.
  await refused(t, ['mkfs', join(scratch, 'huge'), '--size', '8191T'], 1, /huge cannot be made \d+ bytes long: /);
  t.notOk(existsSync(join(scratch, 'huge')), 'what could not be made is not there');
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

t.test('a name with a line feed', async (t) => {
  await refused(t, ['fsck', join(scratch, 'no\nimage')], 8, /^latchfs: \S+no\\nimage: there is no such image.*\n$/);
});

t.test('a name that is not UTF-8', async (t) => {
  const odd = join(scratch, 'caf');
  const ran = await run('bash', [
    '-c',
    `name=$(printf '${odd}\\351'); mkdir "$name" && ${latchfs} mount memory "$name"`,
  ]);
  t.equal(ran.status, 2);
  t.match(ran.stderr, /^latchfs: '\S+caf.' is not UTF-8: .*\n$/);
});

t.test('few files', async (t) => {
  const limited = ['bash', '-c', 'ulimit -n 100; exec "$@"', '_'];
  await refused(t, ['mount', 'memory', empty], 1, /^latchfs: only 100 files may be open.*ulimit -n 1024'\n$/, limited);
});

t.test("a shell's limit of files", async (t) => {
  const image = join(scratch, 'limited');
  const limited = ['bash', '-c', 'ulimit -f 100; exec "$@"', '_'];
  const soft = ['bash', '-c', 'ulimit -S -f 100; exec "$@"', '_'];
  const user = process.geteuid?.() === 0 ? NOBODY : [];
  const [command = '', ...rest] = [...soft, latchfs, 'mkfs', image, '--size', '16M'];
  t.equal((await run(command, rest)).status, 0, 'a soft limit is raised');
  if (user.length > 0) t.equal((await run('chown', ['65534', image])).status, 0);
  await run('chmod', ['711', scratch]);
  const only = /limited has 16777216 bytes, of which only 102400 may be written here: raise 'ulimit -f'\n$/;
  await refused(t, ['fsck', '-y', image], 8, only, [...user, ...limited]);
  await refused(t, ['mkfs', `${image}2`, '--size', '16M'], 1, /cannot be (made|written)/, [...user, ...limited]);
  if (user.length === 0) return;
  const dir = join(scratch, 'limits');
  mkdirSync(dir);
  const log = join(scratch, 'log');
  const script = `ulimit -S -f 100; ${latchfs} mount ${image} ${dir} -o noblkdev,log=${log}`;
  t.equal((await run('bash', ['-c', script])).status, 0, 'it is raised for the daemon');
  t.equal((await run('bash', ['-c', `head -c 4M /dev/urandom > ${dir}/f && sync ${dir}/f`])).status, 0);
  t.equal((await run(latchfs, ['umount', dir])).status, 0);
  t.equal((await run(latchfs, ['fsck', image])).status, 0);
});

t.test('options', async (t) => {
  await refused(t, ['mount', 'memory', empty, '-o', 'frobnicate'], 2, /unknown option 'frobnicate'/);
  await refused(t, ['mount', 'memory', empty, '-o', 'cache=some'], 2, /must be one of none, auto, always/);
  await refused(t, ['mount', 'memory:lots', empty], 2, /'lots' is not a size/);
  await refused(t, ['mount', 'memory', empty, '-o', 'size=12q'], 2, /'12q' is not a size/);
  await refused(t, ['mount', 'memory:1G', empty, '-o', 'size=2G'], 2, /memory:1G says another size/);
  await refused(t, ['mount', join(scratch, 'file'), empty, '-o', 'size=1G'], 2, /file is as large as it is/);
  await refused(t, ['mount', join(scratch, 'file'), empty, '-o', 'uid=5'], 2, /option uid: .*chown changes that/);
  await refused(t, ['mount', 'memory', empty, '--transport=pigeon'], 2, /pigeon/);
  await refused(
    t,
    ['mount', 'memory', empty, '-o', 'remount,ro'],
    1,
    /cannot be remounted: .*(not mounted|must be superuser)/,
  );
  await refused(t, ['contract', 'renam'], 1, /renam/);
  await refused(t, ['contract', '--coverage', 'renam'], 2, /--coverage and 'renam' cannot be asked for together/);
  await refused(t, ['contract', '--observed', '--dubious'], 2, /--observed and --dubious cannot be asked for together/);
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
