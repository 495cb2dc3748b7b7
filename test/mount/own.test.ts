/** Filesystems that are not latch: ramfs, and modules of the user's own. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { latchfs, root, run, withMount } from './harness.js';
import { lacking, unblemished } from './users.js';

const scratch = mkdtempSync(join(tmpdir(), 'latchfs-own-'));
t.teardown(() => rmSync(scratch, { recursive: true, force: true }));

/** Write a module. @returns its path */
function module(name: string, text: string): string {
  const path = join(scratch, name);
  writeFileSync(path, text);
  return path;
}

/** The module that the README shows. */
function shown(): string {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const [, text = ''] = /^ {4}\/\/ growfs\.js\n((?: {4}.*\n|\n)+?)\n {4}\$ /m.exec(readme) ?? [];
  return text.replace(/^ {4}/gm, '');
}

t.test('what the README shows is reported, and the mended one is not', async (t) => {
  const text = shown();
  t.match(text, /export default/);
  const wrong = module('growfs.js', text);
  await withMount('memory', `type=${wrong}`, async ({ dir, sh, log }) => {
    t.match(await sh('fallocate -l 1M f; stat -c %s f'), { status: 0, stdout: '1048576\n' });
    const report = readFileSync(join(dir, '.latchfs/violations'), 'utf8');
    t.match(report, /rule: guarded#inode\.i_size\n/);
    t.match(report, /\(FALLOCATE\) did it/);
    t.ok(report.includes(`ramfs_file_operations.fallocate (${wrong}:5:3)`), report);
    t.match(log(), /locking violation/);
    t.match(await run('findmnt', ['-no', 'SOURCE', dir]), { stdout: 'growfs\n' });
    t.match(await sh('echo enforce error > .latchfs/control; ! fallocate -l 2M f'), {
      status: 0,
      stderr: /Input\/output error/,
    });
  });
  const lock = 'using _held = await file.f_inode.i_rwsem.write(task);';
  const [, change = ''] = /^ {2}(i_size_write.*)$/m.exec(text) ?? [];
  // Node 20 has no `using`; TypeScript makes this of it.
  const mended = text
    .replace('= (task', '= async (task')
    .replace(change, `const held = await file.f_inode.i_rwsem.write(task); ${change} held.release();`);
  t.ok(readFileSync(join(root, 'README.md'), 'utf8').includes(lock));
  await withMount('memory', `enforce=error,debug=all,type=${module('mended.js', mended)}`, async (mounted) => {
    t.match(await mounted.sh('fallocate -l 1M f; stat -c %s f'), { status: 0, stdout: '1048576\n' });
    unblemished(t, mounted);
  });
});

const NUMBERS = `
import { d_add, d_make_root } from 'latchfs/fs/dcache-alias.js';
import { insert_inode_locked, new_inode, unlock_new_inode } from 'latchfs/fs/icache';
import { i_size_init, inode_init } from 'latchfs/fs/inode';
import { inode_init_owner } from 'latchfs/fs/inode-owner';
import { simple_statfs } from 'latchfs/fs/libfs';

// Each number below 1000 is a directory or, where it is odd, a file of that number of bytes. The root is number 1000, nothing is kept.
const make = (task, sb, ino) => {
  const found = sb.inodeHash.get(ino);
  if (found !== undefined) { found.i_count++; return found; }
  const inode = new_inode(task, sb);
  inode.i_ino = ino;
  inode_init_owner(task, inode, undefined, ino % 2 === 0 ? 0o40755 : 0o100644);
  inode_init(inode).i_nlink = ino % 2 === 0 ? 2 : 1;
  i_size_init(inode, ino % 2 === 0 ? 0 : ino);
  if (ino % 2 === 0) inode.i_op = { lookup: (task, dir, dentry) => d_add(task, dentry, /^[1-9][0-9]{0,2}$/.test(dentry.d_name) ? make(task, sb, dir.i_ino === 1000 ? Number(dentry.d_name) : 2000 + Number(dentry.d_name)) : undefined) };
  else inode.i_fop = { read: (task, file, count, pos) => Buffer.alloc(Math.max(0, Math.min(count, ino - pos)), String(ino % 10)) };
  insert_inode_locked(task, inode);
  unlock_new_inode(task, inode);
  return inode;
};
export default {
  name: 'numbers',
  fill_super(task, sb) {
    sb.s_magic = 0x6e756d62;
    sb.s_op = { statfs: simple_statfs };
    sb.s_root = d_make_root(task, make(task, sb, 1000));
  },
};
`;

for (const cache of ['none', 'auto'])
  t.test(`inodes that cannot be read again stay while the kernel knows them, cache=${cache}`, async (t) => {
    await withMount('memory', `cache=${cache},type=${module('numbers.mjs', NUMBERS)}`, async (mounted) => {
      const ran = await mounted.sh(`
        exec 3<7; cd 8; echo 'drop_caches 3' > ../.latchfs/control; for i in $(seq 1 2 600); do stat -c %i ../$i >/dev/null; done
        echo 'drop_caches 3' > ../.latchfs/control
        cat <&3; echo; stat -c %i . ../1 ../8 ..; [ -e 11 ] && [ ! -e nothing ] && stat -c %i 11`);
      t.match(ran, { status: 0, stdout: '7777777\n8\n1\n8\n1000\n2011\n', stderr: '' });
      t.match(await mounted.sh('stat -fc %t .'), { stdout: '65735546\n' });
      unblemished(t, mounted);
    });
  });

t.test('its own failures are EIO, and a stack in the log', async (t) => {
  const text = `
    import { ramfs_dir_inode_operations, ramfs_fs_type } from 'latchfs/ramfs/ramfs';
    ramfs_dir_inode_operations.mkdir = (task, dir) => dir.nothing.at.all;
    export default { ...ramfs_fs_type, name: 'broken' };`;
  await withMount('memory', `type=${module('broken.js', text)}`, async ({ sh, log }) => {
    t.match(await sh('! mkdir d; echo still > f; cat f'), {
      status: 0,
      stdout: 'still\n',
      stderr: /Input\/output error/,
    });
    t.match(log(), /Cannot read properties of undefined.*broken\.js:3/);
    t.match(await sh('! echo "shutdown default" > .latchfs/control'), { status: 0, stderr: /not supported/ });
  });
});

t.test('ramfs passes what the ramfs of Linux passes', { skip: await lacking('python3') }, async (t) => {
  await withMount('memory', 'allow_other,cache=none,type=ramfs', async (mounted) => {
    const groups = ['rename', 'link', 'unlink', 'dir', 'perm', 'mmap', 'times'].flatMap((name) => ['-g', name]);
    // That extended attributes, flags of chattr and numbers of free inodes are not there is told by no skip.
    const without = [
      'chattr-directory',
      'chown-of-nothing',
      'tmpfile-many',
      'unlink-frees-space',
      'xattr-namespaces',
      'xattr-on-directories',
      'xattr-times',
    ].flatMap((name) => ['-x', name]);
    const ran = await run(join(root, 'scripts/check'), [...groups, ...without, mounted.dir], { timeout: 300_000 });
    t.equal(ran.status, 0, ran.status === 0 ? 'all of it' : ran.stdout.slice(-3000));
    t.match(ran.stdout, /\d\d passed, 0 failed/);
    unblemished(t, mounted);
  });
});

t.test('bad input', async (t) => {
  const empty = join(scratch, 'empty');
  mkdirSync(empty);
  const good = module('good.js', shown());
  const cases: readonly (readonly [string[], number, RegExp])[] = [
    [['--type', 'ext5'], 2, /unknown filesystem 'ext5': it must be latch, ramfs, or the path of a module/],
    [['--type', './nothing.js'], 1, /the module \.\/nothing\.js of a filesystem is not there/],
    [['--type', scratch], 1, /is not there, or no file/],
    [['-o', 'type='], 2, /option type: it needs the name/],
    [['--type', module('syntax.js', 'export default {')], 1, /syntax\.js cannot be loaded: Unexpected end of input/],
    [
      ['--type', module('import.js', "import { x } from 'latchfs/fs/inode';")],
      1,
      /import\.js cannot be loaded: .*'latchfs\/fs\/inode'.*'x'/,
    ],
    [['--type', module('missing.js', "import 'latchfs/fs/nowhere';")], 1, /missing\.js cannot be loaded: .*nowhere/],
    [
      ['--type', module('empty.js', 'export const a = 1;')],
      1,
      /empty\.js exports no filesystem: its default export must have/,
    ],
    [
      ['--type', module('throws.js', "export default { name: 'x', fill_super(task, sb) { sb.no.no = 1; } };")],
      1,
      /x cannot be mounted: .*throws\.js:1/,
    ],
    [
      ['--type', module('rootless.js', "export default { name: 'x', fill_super() {} };")],
      1,
      /x cannot be mounted: it has set no s_root/,
    ],
    [['--type', good, '-o', 'uid=1'], 2, /option uid: latch knows it/],
    [['--type', good, '-o', 'usrquota'], 2, /option usrquota, grpquota, prjquota: latch knows/],
  ];
  for (const [args, status, message] of cases) {
    const ran = await run(latchfs, ['mount', ...args, empty], { timeout: 60_000 });
    t.match(ran, { status, stdout: '' }, `${args.join(' ')}: ${ran.stderr}`);
    t.match(ran.stderr, message);
    t.notMatch(ran.stderr, /\n./, 'one line');
  }
});
