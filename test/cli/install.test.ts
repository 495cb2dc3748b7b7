/** `make install` puts what runs where it is told, and nothing else; the package that `make pack` makes has the same. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { root, run } from '../mount/harness.js';

const dest = mkdtempSync(join(tmpdir(), 'latchfs-install-'));
t.teardown(() => rmSync(dest, { recursive: true }));

t.test('install and uninstall', async (t) => {
  // Built already: so -o.
  const where = [`DESTDIR=${dest}`, 'PREFIX=/opt/latchfs', 'HELPERDIR=/usr/sbin'];
  const made = await run('make', ['-o', 'build', 'install', ...where], { cwd: root });
  t.equal(made.status, 0, made.stderr);
  const lib = join(dest, 'opt/latchfs/lib/latchfs');
  t.same(readdirSync(join(lib, 'dist')), ['src']);
  t.ok(existsSync(join(lib, 'node_modules', 'koffi', 'package.json')));
  for (const unused of ['tap', 'typescript', '@biomejs', 'fast-check', '.bin'])
    t.notOk(existsSync(join(lib, 'node_modules', unused)), `${unused} is for development`);
  const latchfs = join(dest, 'opt/latchfs/bin/latchfs');
  t.equal(realpathSync(latchfs), join(lib, 'scripts', 'latchfs'));
  t.equal(
    readlinkSync(join(dest, 'usr/sbin/mount.fuse.latchfs')),
    '/opt/latchfs/lib/latchfs/scripts/mount.fuse.latchfs',
  );
  t.match((await run(latchfs, ['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  t.match(await run(latchfs, ['contract', 'rename']), { status: 0, stderr: '' });
  t.match(await run(latchfs, ['mkfs', join(dest, 'image'), '--size', '8M']), { status: 0, stderr: '' });
  t.match(await run(latchfs, ['fsck', join(dest, 'image')]), { status: 0, stdout: /clean/ });
  t.equal((await run('make', ['uninstall', ...where], { cwd: root })).status, 0);
  const left = (await run('find', [dest, '-name', '*latchfs', '-not', '-type', 'd', '-not', '-path', dest])).stdout;
  t.equal(left, '');
});

t.test('a package runs beside its dependencies, and has nothing else', async (t) => {
  const made = await run('make', ['-s', '-o', 'build', 'pack', `DESTDIR=${dest}`], { cwd: root });
  t.equal(made.status, 0, made.stderr);
  const [tarball = ''] = readdirSync(dest).filter((name) => name.endsWith('.tgz'));
  t.equal((await run('tar', ['xzf', join(dest, tarball), '-C', dest])).status, 0);
  const own = join(dest, 'package');
  t.same(readdirSync(own).sort(), ['LICENSE', 'README.md', 'dist', 'package.json', 'scripts']);
  t.same(readdirSync(join(own, 'dist')), ['src']);
  t.same(readdirSync(join(own, 'scripts')).sort(), ['fsck.latchfs', 'latchfs', 'mount.fuse.latchfs']);
  symlinkSync(join(root, 'node_modules'), join(dest, 'node_modules'));
  const latchfs = join(own, 'scripts/latchfs');
  t.match((await run(latchfs, ['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  t.match(await run(latchfs, ['mkfs', join(dest, 'packed'), '--size', '8M']), { status: 0, stderr: '' });
  t.match(await run(join(own, 'scripts/fsck.latchfs'), ['-n', join(dest, 'packed')]), { status: 0, stdout: /clean/ });
});

t.test('whoever writes a filesystem in TypeScript has the types', async (t) => {
  // A project with latchfs among its packages.
  const project = join(dest, 'project');
  mkdirSync(join(project, 'node_modules'), { recursive: true });
  symlinkSync(root, join(project, 'node_modules', 'latchfs'));
  symlinkSync(join(root, 'node_modules', '@types'), join(project, 'node_modules', '@types'));
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
  const module = (size: string): string => `
    import { i_size_write } from 'latchfs/fs/inode';
    import type { FileSystemType } from 'latchfs/fs/super.js';
    import { ramfs_file_operations, ramfs_fs_type } from 'latchfs/ramfs/ramfs';

    ramfs_file_operations.fallocate = async (task, file, _mode, offset, length) => {
      using _held = await file.f_inode.i_rwsem.write(task);
      i_size_write(task, file.f_inode, ${size});
    };
    const growfs: FileSystemType = { ...ramfs_fs_type, name: 'growfs' };
    export default growfs;`;
  const compile = (size: string) => {
    writeFileSync(join(project, 'growfs.ts'), module(size));
    const options = '--strict --module nodenext --target es2022 --lib es2023,esnext.disposable --types node';
    return run(join(root, 'node_modules/.bin/tsc'), [...options.split(' '), 'growfs.ts'], { cwd: project });
  };
  t.match(await compile('offset + length'), { status: 0, stdout: '' });
  t.match(await compile("'much'"), {
    status: 2,
    stdout: /growfs\.ts\(8,.*'string' is not assignable to parameter of type 'number'/,
  });
});
