/** Permission bits and access control lists: the tables were recorded on ext4 and tmpfs of Linux 6.18, which agree. */

import t from 'tap';
import { notify_change } from '../../src/fs/attr.js';
import { dput } from '../../src/fs/dcache.js';
import type { Dentry } from '../../src/fs/dentry.js';
import { fput } from '../../src/fs/file-table.js';
import { open_or_create } from '../../src/fs/namei/open-last.js';
import { do_create, do_mkdir } from '../../src/fs/namei.js';
import { vfs_open } from '../../src/fs/open.js';
import type { PosixAcl } from '../../src/fs/posix-acl-types.js';
import { posix_acl_from_xattr, posix_acl_to_xattr } from '../../src/fs/posix-acl-xattr.js';
import { vfs_getxattr, vfs_listxattr, vfs_removexattr, vfs_setxattr } from '../../src/fs/xattr.js';
import type { Cred, Task } from '../../src/sched/task.js';
import { O_RDWR, O_WRONLY } from '../../src/uapi/fcntl.js';
import { inodeOf, newWorld, outcome, user } from './world.js';

const TAGS = { u: 1, U: 2, g: 4, G: 8, m: 16, o: 32 } as const;
type Entry = readonly [keyof typeof TAGS, number, number?];

function acl(entries: readonly Entry[]): PosixAcl {
  return entries.map(([tag, perm, id]) => ({ tag: TAGS[tag], perm, id }));
}

const ACCESS = 'system.posix_acl_access';
const DEFAULT = 'system.posix_acl_default';

function setAcl(task: Task, dentry: Dentry, name: string, entries: readonly Entry[]): Promise<void> {
  return Promise.resolve(vfs_setxattr(task, dentry, name, posix_acl_to_xattr(acl(entries)), 0));
}

async function getAcl(task: Task, dentry: Dentry, name: string): Promise<PosixAcl | undefined> {
  const value = await vfs_getxattr(task, dentry, name);
  return value === undefined ? undefined : posix_acl_from_xattr(value);
}

const USERS: Readonly<Record<string, Cred>> = {
  owner: user(2000, 3000),
  named: user(2001, 3005),
  group: user(2002, 3000),
  G1: user(2003, 3001),
  'G1+2': user(2004, 3009, [3001, 3002]),
  other: user(2005, 3010),
};

const FILES: Readonly<Record<string, readonly [number, (readonly Entry[])?]>> = {
  'mode 640': [0o640],
  'mode 604': [0o604],
  'mode 066': [0o066],
  'named user': [
    0o660,
    [
      ['u', 6],
      ['U', 4, 2001],
      ['g', 4],
      ['m', 7],
      ['o', 0],
    ],
  ],
  'masked user': [
    0o660,
    [
      ['u', 6],
      ['U', 6, 2001],
      ['g', 6],
      ['m', 4],
      ['o', 6],
    ],
  ],
  'named group': [
    0o660,
    [
      ['u', 6],
      ['g', 0],
      ['G', 4, 3001],
      ['G', 2, 3002],
      ['m', 6],
      ['o', 7],
    ],
  ],
  'empty mask': [
    0o600,
    [
      ['u', 6],
      ['U', 6, 2001],
      ['g', 6],
      ['m', 0],
      ['o', 4],
    ],
  ],
};

/** For each file what owner, named, group, G1, G1+2 and other may open it for: read, write, both. */
const RECORDED: Readonly<Record<string, string>> = {
  'mode 640': '111 000 100 000 000 000',
  'mode 604': '111 100 000 100 100 100',
  'mode 066': '000 111 111 111 111 111',
  'named user': '111 100 100 000 000 000',
  'masked user': '111 100 100 111 111 111',
  'named group': '111 111 000 100 110 111',
  'empty mask': '111 100 000 100 100 100',
};

t.test('who may open what', async (t) => {
  const { root, run, end, violations } = await newWorld();
  for (const [name, [mode, entries]] of Object.entries(FILES)) {
    const file = await run((task) => do_create(task, root, name, 0o600, true));
    await run(async (task) => {
      await notify_change(task, file, { uid: 2000, gid: 3000 });
      await notify_change(task, file, { mode });
      if (entries !== undefined) await setAcl(task, file, ACCESS, entries);
    });
    const may = async (cred: Cred): Promise<string> => {
      let allowed = '';
      for (const flags of [0, O_WRONLY, O_RDWR]) {
        const result = await outcome(() =>
          run(async (task) => {
            await fput(task, await vfs_open(task, file, flags));
          }, cred),
        );
        allowed += result === 'ok' ? '1' : '0';
        if (result !== 'ok') t.equal(result, 'EACCES');
      }
      return allowed;
    };
    const seen: string[] = [];
    for (const cred of Object.values(USERS)) seen.push(await may(cred));
    t.equal(seen.join(' '), RECORDED[name], name);
    await run((task) => dput(task, file));
  }
  await end();
  t.same(violations, []);
});

t.test('lists and modes follow each other', async (t) => {
  const { root, run, end, sb } = await newWorld();
  await run(async (task) => {
    const file = await do_create(task, root, 'f', 0o640, true);
    const inode = inodeOf(file);
    await setAcl(task, file, ACCESS, [
      ['u', 6],
      ['U', 7, 2001],
      ['g', 4],
      ['m', 7],
      ['o', 1],
    ]);
    t.equal(inode.i_mode & 0o7777, 0o671);
    t.same(await vfs_listxattr(task, file), [ACCESS]);
    await notify_change(task, file, { mode: 0o604 });
    t.same(
      await getAcl(task, file, ACCESS),
      acl([
        ['u', 6],
        ['U', 7, 2001],
        ['g', 4],
        ['m', 0],
        ['o', 4],
      ]),
    );
    t.equal(inode.i_mode & 0o7777, 0o604);
    await vfs_removexattr(task, file, ACCESS);
    t.equal(inode.i_mode & 0o7777, 0o604);
    t.equal(await outcome(() => vfs_getxattr(task, file, ACCESS)), 'ENODATA');
    await setAcl(task, file, ACCESS, [
      ['u', 6],
      ['g', 4],
      ['o', 1],
    ]);
    t.equal(await outcome(() => vfs_getxattr(task, file, ACCESS)), 'ENODATA', 'what the mode says is not kept');
    t.equal(inode.i_mode & 0o7777, 0o641);
    const bad: Readonly<Record<string, readonly Entry[]>> = {
      'no other': [
        ['u', 6],
        ['g', 4],
      ],
      'no mask': [
        ['u', 6],
        ['U', 4, 5],
        ['g', 4],
        ['o', 1],
      ],
      order: [
        ['g', 4],
        ['u', 6],
        ['o', 1],
      ],
      perm: [
        ['u', 9],
        ['g', 4],
        ['o', 1],
      ],
    };
    for (const [what, entries] of Object.entries(bad)) {
      t.equal(await outcome(() => setAcl(task, file, ACCESS, entries)), 'EINVAL', what);
    }
    t.equal(
      await outcome(() =>
        setAcl(task, file, DEFAULT, [
          ['u', 6],
          ['g', 4],
          ['o', 1],
        ]),
      ),
      'EACCES',
    );
    t.equal(await outcome(() => vfs_setxattr(task, file, ACCESS, Buffer.from([3, 0, 0, 0]), 0)), 'EOPNOTSUPP');
    await notify_change(task, file, { uid: 2000, gid: 3000 });
    await notify_change(task, file, { mode: 0o2660 });
    const list: readonly Entry[] = [
      ['u', 6],
      ['U', 7, 2001],
      ['g', 4],
      ['m', 7],
      ['o', 1],
    ];
    await run((own) => setAcl(own, file, ACCESS, list), user(2000, 3999));
    t.equal(inode.i_mode & 0o7777, 0o671, 'the setgid bit goes with an owner who is not of the group');
    t.equal(await outcome(() => run((own) => setAcl(own, file, ACCESS, list), user(2002, 3000))), 'EPERM');
    // From the device again.
    const { forget_all_cached_acls } = await import('../../src/fs/posix-acl-ops.js');
    forget_all_cached_acls(inode);
    t.same(await getAcl(task, file, ACCESS), acl(list));
    await dput(task, file);
  });
  t.equal(await end(), 0);
  t.ok(sb);
});

t.test('what new files inherit', async (t) => {
  const { root, run, end } = await newWorld();
  await run(async (task) => {
    const dir = await do_mkdir(task, root, 'd', 0o755);
    const inherited: readonly Entry[] = [
      ['u', 7],
      ['U', 7, 2001],
      ['g', 5],
      ['m', 7],
      ['o', 0],
    ];
    await setAcl(task, dir, DEFAULT, inherited);
    for (const umask of [0o022, 0o077]) {
      task.umask = umask;
      const { file, dentry } = await open_or_create(task, dir, `x${umask}`, O_RDWR, 0o666);
      t.equal(inodeOf(dentry).i_mode & 0o7777, 0o660, `file, umask ${umask}`);
      t.same(
        await getAcl(task, dentry, ACCESS),
        acl([
          ['u', 6],
          ['U', 7, 2001],
          ['g', 5],
          ['m', 6],
          ['o', 0],
        ]),
      );
      t.equal(await outcome(() => vfs_getxattr(task, dentry, DEFAULT)), 'ENODATA');
      await fput(task, file);
      await dput(task, dentry);
      const sub = await do_mkdir(task, dir, `s${umask}`, 0o755);
      t.equal(inodeOf(sub).i_mode & 0o7777, 0o750, `directory, umask ${umask}`);
      t.same(
        await getAcl(task, sub, ACCESS),
        acl([
          ['u', 7],
          ['U', 7, 2001],
          ['g', 5],
          ['m', 5],
          ['o', 0],
        ]),
      );
      t.same(await getAcl(task, sub, DEFAULT), acl(inherited));
      await dput(task, sub);
    }
    task.umask = 0o022;
    const plain = await do_mkdir(task, root, 'd2', 0o755);
    await setAcl(task, plain, DEFAULT, [
      ['u', 6],
      ['g', 4],
      ['o', 0],
    ]);
    const { file, dentry } = await open_or_create(task, plain, 'x', O_RDWR, 0o666);
    t.equal(inodeOf(dentry).i_mode & 0o7777, 0o640);
    t.equal(await outcome(() => vfs_getxattr(task, dentry, ACCESS)), 'ENODATA');
    await fput(task, file);
    for (const kept of [dentry, plain, dir]) await dput(task, kept);
  });
  t.equal(await end(), 0);
});
