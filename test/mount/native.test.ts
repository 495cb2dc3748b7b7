/** The fuse-native transport: on a real mount where libfuse 2 is there, and its absence in one line. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { loadError, loadNative } from '../../src/fuse/native.js';
import { bytesOf, splitPath, statOf, textOf, timeOf } from '../../src/fuse/native-values.js';
import { root, run, withMount } from './harness.js';

const skip = ((): string | false => {
  if (process.geteuid?.() !== 0) return 'needs root';
  try {
    loadNative();
    return false;
  } catch (error) {
    return error instanceof Error ? error.message : 'it cannot be loaded';
  }
})();

t.test('files and directories', { skip }, async (t) => {
  await withMount('memory:256M', 'allow_other,transport=fuse-native', async ({ dir, sh, log }) => {
    const ok = async (script: string, expected: string): Promise<void> => {
      const ran = await sh(script);
      t.equal(ran.stdout, expected, `${script}: ${ran.stderr}`);
    };
    await ok(
      'echo one > a; mkdir d; mv a d/b; ln d/b c; ln -s c l; cat l; stat -c "%h %F %s" c',
      'one\n2 regular file 4\n',
    );
    await ok(
      'chmod 640 c; chown 7:8 c; stat -c "%a %u %g" c d/b; chown :9 c; stat -c "%u %g" c',
      '640 7 8\n640 7 8\n7 9\n',
    );
    await ok('echo more >> c; truncate -s 6 c; cat c; : > c; stat -c %s d/b', 'one\nmo0\n');
    await ok('head -c 3000000 /dev/urandom > x; cp x d/x; sync x d/x; cmp x d/x && ls d', 'b\nx\n');
    await ok('touch -d 2001-02-03T04:05:06 x; TZ=UTC stat -c %y x | cut -c1-19', '2001-02-03 04:05:06\n');
    await ok('mknod p p; mknod n c 1 3; stat -c "%F %t,%T" p n', 'fifo 0,0\ncharacter special file 1,3\n');
    await ok('setfattr -n user.k -v value c; getfattr -n user.k --only-values c', 'value');
    await ok('getfattr -d c | grep -c user.k; setfattr -x user.k c; getfattr -d c', '1\n');
    await ok('for i in $(seq 300); do : > "d/file $i"; done; ls d | wc -l', '302\n');
    await ok('exec 3<>open; echo kept >&3; rm open; cat /proc/self/fd/3; exec 3>&-; ls', 'kept\nc\nd\nl\nn\np\nx\n');
    await ok("printf 'é' > 'ä ö'; cat 'ä ö'; rm 'ä ö'", 'é');
    for (const [script, why] of [
      ['cat absent', 'No such file'],
      ['cat c/x', 'Not a directory'],
      ['rmdir d', 'not empty'],
      ['mkdir d', 'File exists'],
      ['getfattr --absolute-names -n user.none c', 'No such attribute'],
      ['fallocate -l 1M c', 'not supported'],
      [`mkdir ${'n'.repeat(256)}`, 'File name too long'],
    ] as const) {
      const ran = await sh(script);
      t.not(ran.status, 0, script);
      t.match(ran.stderr, why);
    }
    const small = await run('python3', ['-c', `import os; os.setxattr('${dir}/c', 'user.long', b'x' * 300)`]);
    t.equal(small.status, 0, small.stderr);
    await ok(
      `: > end; python3 -c "import fcntl, os
fd = os.open('end', os.O_RDWR | os.O_APPEND); os.write(fd, b'base'); os.lseek(fd, 0, 0); os.write(fd, b'-one')
fcntl.fcntl(fd, fcntl.F_SETFL, 0); os.pwrite(fd, b'B', 0); os.close(fd)"; cat end; echo -two >> end; cat end`,
      'Base-oneBase-one-two\n',
    );
    await ok(
      `python3 -c "import mmap, os
cap = bytes.fromhex('0100000200040000000000000000000000000000'); os.setxattr('end', 'security.capability', cap)
fd = os.open('end', os.O_RDWR); map = mmap.mmap(fd, 8); map[0] = 98; map.flush()
print('security.capability' in os.listxattr('end')); os.write(fd, b'B'); print('security.capability' in os.listxattr('end'))"`,
      'True\nFalse\n',
    );
    await ok('rm -rf ./*; ls -A', '');
    await ok('df --output=fstype,source . | tail -1', 'fuse.latchfs memory:256M\n');
    t.notMatch(log(), /violation|request failed/);
  });
});

t.test('it ends when it is unmounted, and at a signal', { skip }, async (t) => {
  await withMount('memory:64M', 'transport=fuse-native', async (mounted) => {
    mounted.daemon.kill('SIGTERM');
    const status = await new Promise((resolve) => mounted.daemon.once('exit', resolve));
    t.equal(status, 0);
    t.notMatch((await run('cat', ['/proc/mounts'])).stdout, mounted.dir);
  });
});

t.test('what is missing is named in one line', async (t) => {
  const copy = mkdtempSync(join(tmpdir(), 'latchfs-native-'));
  t.teardown(() => rmSync(copy, { recursive: true }));
  cpSync(join(root, 'dist/src'), join(copy, 'dist/src'), { recursive: true });
  cpSync(join(root, 'package.json'), join(copy, 'package.json'));
  mkdirSync(join(copy, 'node_modules'));
  mkdirSync(join(copy, 'mnt'));
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name !== 'fuse-native') symlinkSync(join(root, 'node_modules', name), join(copy, 'node_modules', name));
  }
  const refused = async (message: string): Promise<void> => {
    const main = join(copy, 'dist/src/cli/main.js');
    const ran = await run(process.execPath, [main, 'mount', 'memory', join(copy, 'mnt'), '--transport=fuse-native']);
    t.equal(ran.status, 1);
    t.equal(ran.stderr, `latchfs: ${message}\n`);
  };
  await refused('the fuse-native transport needs an optional package: npm install fuse-native');
  const fake = join(copy, 'node_modules/fuse-native');
  mkdirSync(fake);
  const words = 'libfuse.so.2: cannot open shared object file: No such file or directory';
  writeFileSync(join(fake, 'index.js'), `throw new Error(${JSON.stringify(words)});`);
  await refused('the fuse-native transport needs libfuse.so.2: sudo apt-get install libfuse2');
  t.match(
    loadError('', 'No native build was found for platform=linux arch=riscv64\n    loaded from: x').message,
    /use --transport=dev-fuse$/,
  );
});

t.test('values as the package has them', (t) => {
  t.equal(bytesOf('é'), 'Ã©');
  t.equal(textOf(bytesOf('日本')), '日本');
  t.same(splitPath('/a//b/'), ['a', 'b']);
  t.same(splitPath('/'), []);
  t.same(timeOf(1500), { sec: 1, nsec: 500_000_000 });
  const time = { sec: 2, nsec: 3_999_999 };
  const before = { sec: -5, nsec: 0 };
  const stat = { ino: 1, mode: 2, nlink: 3, uid: 4, gid: 5, rdev: 6, size: 7, blocks: 8, blksize: 9 };
  const given = {
    ...stat,
    atime: time,
    mtime: before,
    ctime: time,
    btime: undefined,
    attributes: 0,
    attributes_mask: 0,
  };
  t.match(statOf(given), { ...stat, atime: 2003, mtime: 0, ctime: 2003 });
  t.end();
});
