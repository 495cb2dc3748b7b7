/** Quotas of latch: whatever happens to files, what is counted is what they have; limits hold; the files survive mounts, and are looked after by fsck. */

import t, { type Test } from 'tap';
import { DROP_SLAB, drop_caches } from '../../src/fs/drop-caches.js';
import { GRPQUOTA, PRJQUOTA, USRQUOTA } from '../../src/fs/quota/types.js';
import { SB_RDONLY } from '../../src/fs/super-block.js';
import { freeze_super, thaw_super } from '../../src/fs/super-freeze.js';
import type { QuotaArgument } from '../../src/fs/syscalls/quota.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { decodeSuper, encodeSuper } from '../../src/latch/format/superblock.js';
import { infoOf } from '../../src/latch/info.js';
import { O_CREAT, O_RDWR, O_TMPFILE, O_TRUNC, O_WRONLY } from '../../src/uapi/fcntl.js';
import { FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR } from '../../src/uapi/ioctl.js';
import { Q_GETQUOTA, Q_QUOTAOFF, Q_QUOTAON, Q_SETQUOTA } from '../../src/uapi/quota.js';
import { outcome, user } from '../fs/world.js';
import { settle } from './journal/crash-device.js';
import { freshImage, problemsOf, repaired, World } from './world.js';

const SIZE = 8 << 20;
const KIB = 1024;
const UID = 1000;
const GID = 2000;

interface Mounted {
  readonly world: World;
  readonly root: Syscalls;
  readonly user: Syscalls;
  quota(type?: 0 | 1, id?: number): Promise<QuotaArgument>;
  limit(given: QuotaArgument, type?: 0 | 1, id?: number): Promise<QuotaArgument>;
  /** Unmount. @returns the image */
  end(): Promise<Buffer>;
}

/** Mount an image with quotas, and have a process of root and one of a user. */
async function mounted(image: Buffer, enforce = true): Promise<Mounted> {
  const world = await World.mount(image);
  const { sb } = world;
  const processes = [
    new Process(sb, { umask: 0 }),
    new Process(sb, { umask: 0, cred: user(UID, GID, [GID + 1]) }),
  ] as const;
  const [root, own] = [syscalls(processes[0]), syscalls(processes[1])];
  if (enforce) for (const type of [USRQUOTA, GRPQUOTA]) await root.quotactl(Q_QUOTAON, type, sb);
  await root.chmod('/', 0o777);
  return {
    world,
    root,
    user: own,
    quota: (type = USRQUOTA, id = type === USRQUOTA ? UID : GID) => root.quotactl(Q_GETQUOTA, type, sb, id),
    limit: (given, type = USRQUOTA, id = type === USRQUOTA ? UID : GID) =>
      root.quotactl(Q_SETQUOTA, type, sb, id, given),
    end: async () => {
      for (const process of processes) await process.exit();
      await world.unmount();
      return world.driver.now;
    },
  };
}

async function clean(t: Test, image: Buffer): Promise<void> {
  t.same(await problemsOf(image), [], 'fsck finds what is counted to be what there is');
}

async function write(sys: Syscalls, name: string, bytes: number, at = 0): Promise<void> {
  const fd = await sys.open(name, O_CREAT | O_RDWR, 0o644);
  try {
    await sys.pwrite(fd, Buffer.alloc(bytes, 'x'), at);
  } finally {
    await sys.close(fd);
  }
}

const quotaImage = (): Promise<Buffer> => freshImage(SIZE, { quota: true });

t.test('whatever happens to files, what is counted is what they have', async (t) => {
  const m = await mounted(await quotaImage());
  const { root, user } = m;
  await user.mkdir('/d', 0o755);
  await write(user, '/d/a', 100_000);
  t.match(await m.quota(), { dqb_curspace: 25 * 4 * KIB, dqb_curinodes: 2 }, 'promises count');
  await user.sync();
  t.match(await m.quota(), { dqb_curspace: 25 * 4 * KIB, dqb_curinodes: 2 }, 'and so do blocks');
  await user.symlink('x'.repeat(500), '/d/long');
  t.match(await m.quota(), { dqb_curspace: 26 * 4 * KIB, dqb_curinodes: 3 });
  const fd = await user.open('/d/b', O_CREAT | O_RDWR, 0o644);
  await user.fallocate(fd, 0, 0, 40_960);
  await user.fallocate(fd, 3, 8192, 8192);
  await user.setxattr('/d/b', 'user.big', Buffer.alloc(20_000, 'v'));
  for (let i = 0; i < 60; i++) await user.pwrite(fd, Buffer.alloc(100, 'y'), 100_000 + i * 8192);
  await user.fsync(fd);
  await user.ftruncate(fd, 300_000);
  await user.close(fd);
  for (let i = 0; i < 200; i++) await user.mkdir(`/d/${'n'.repeat(100)}${i}`, 0o755);
  await user.link('/d/a', '/d/l');
  await user.unlink('/d/a');
  const open = await user.open('/d/l', O_RDWR);
  await user.unlink('/d/l');
  await user.pwrite(open, Buffer.alloc(9000), 200_000);
  await user.close(open);
  await user.close(await user.open('/d', O_TMPFILE | O_RDWR, 0o600));
  await user.close(await user.open('/d/b', O_WRONLY | O_TRUNC));
  await root.chown('/d/b', 5, 6);
  await user.chown('/d/long', UID, GID + 1).catch(() => undefined);
  for (let i = 0; i < 150; i++) await user.rmdir(`/d/${'n'.repeat(100)}${i}`);
  await user.removexattr('/d/b', 'user.big').catch(() => undefined);
  t.match(await m.quota(USRQUOTA, 5), { dqb_curinodes: 1 });
  t.match(await m.quota(GRPQUOTA, 6), { dqb_curinodes: 1 });
  const image = await m.end();
  await clean(t, image);
  const again = await mounted(image);
  t.match(await again.quota(USRQUOTA, 5), { dqb_curinodes: 1 }, 'the next mount knows');
  t.match(await again.quota(), { dqb_curinodes: 52 });
  await clean(t, await again.end());
});

t.test('limits hold, each where something is taken', async (t) => {
  const m = await mounted(await quotaImage());
  const { root, user } = m;
  await m.limit({ dqb_bhardlimit: 100, dqb_ihardlimit: 4 });
  await user.mkdir('/d', 0o755);
  t.equal(await outcome(() => write(user, '/d/a', 200 * KIB)), 'ok', 'a short write');
  t.equal((await user.stat('/d/a')).size, 100 * KIB, 'up to the limit');
  t.equal(await outcome(() => write(user, '/d/a', 1, 100 * KIB)), 'EDQUOT', 'no byte more');
  t.equal(await outcome(() => write(user, '/d/a', 5 * KIB, 0)), 'ok', 'what is there can be written over');
  await user.sync();
  t.equal(await outcome(() => write(user, '/d/a', 1, 100 * KIB)), 'EDQUOT', 'as much when it has blocks');
  t.equal(await outcome(() => user.setxattr('/d/a', 'user.a', Buffer.from('v'))), 'EDQUOT', 'an attribute');
  t.equal(await outcome(() => user.symlink('x'.repeat(500), '/d/s')), 'EDQUOT', 'a symlink with a block');
  t.equal(await outcome(() => user.symlink('short', '/d/s')), 'ok', 'one without');
  t.equal(await outcome(() => root.truncate('/d/a', 40 * KIB)), 'ok');
  const fd = await user.open('/d/a', O_RDWR);
  t.equal(await outcome(() => user.fallocate(fd, 0, 0, 2 << 20)), 'EDQUOT');
  t.equal((await m.quota()).dqb_curspace, 100 * KIB, 'with what there was room for');
  t.equal((await user.stat('/d/a')).size, 40 * KIB, 'the size stays');
  await user.close(fd);
  await user.truncate('/d/a', 0);
  t.equal((await m.quota()).dqb_curspace, 0);
  await user.mkdir('/e', 0o755);
  t.equal(await outcome(() => user.mkdir('/f', 0o755)), 'EDQUOT', 'a fifth inode');
  t.equal(await outcome(() => user.open('/d', O_TMPFILE | O_RDWR, 0o600)), 'EDQUOT', 'one without a name');
  t.equal(await outcome(() => user.open('/g', O_CREAT | O_RDWR, 0o600)), 'EDQUOT');
  t.equal(await outcome(() => root.mkdir('/f', 0o755)), 'ok', 'root has no limits');
  t.equal(await outcome(() => root.chown('/f', UID, GID)), 'ok', 'and may give');
  await m.limit({ dqb_ihardlimit: 1 }, GRPQUOTA, GID + 1);
  t.equal(await outcome(() => user.chown('/d/a', UID, GID + 1)), 'ok');
  t.equal(await outcome(() => user.chown('/e', UID, GID + 1)), 'EDQUOT', 'a group that has its one inode');
  t.equal((await user.stat('/e')).gid, GID);
  await m.limit({ dqb_bhardlimit: 8 });
  await user.unlink('/d/s');
  const name = 'n'.repeat(200);
  let made = 0;
  await m.limit({ dqb_ihardlimit: 0 });
  while (made < 1000 && (await outcome(() => user.symlink('s', `/d/${name}${made}`))) === 'ok') made++;
  t.ok(made > 10 && made < 100, `a directory grows no further (${made} names)`);
  await root.quotactl(Q_QUOTAOFF, USRQUOTA, m.world.sb);
  t.equal(await outcome(() => write(user, '/d/a', 50 * KIB)), 'ok', 'without limits');
  await clean(t, await m.end());
});

t.test(
  'writes at once do not go over a limit together, and a full quota loses nothing that was promised',
  async (t) => {
    const m = await mounted(await quotaImage());
    const { user } = m;
    await m.limit({ dqb_bhardlimit: 200 });
    const fds = await Promise.all([0, 1, 2, 3].map((i) => user.open(`/f${i}`, O_CREAT | O_RDWR, 0o644)));
    const written = await Promise.all(
      fds.map(async (fd) => {
        let pos = 0;
        for (;;) {
          const count = await user.pwrite(fd, Buffer.alloc(7000, 'z'), pos).catch(() => 0);
          if (count === 0) return pos;
          pos += count;
        }
      }),
    );
    const { dqb_curspace = 0 } = await m.quota();
    t.ok(dqb_curspace <= 200 * KIB && dqb_curspace >= 196 * KIB, `${dqb_curspace} bytes`);
    for (const [i, fd] of fds.entries()) {
      await user.fsync(fd);
      t.equal((await user.fstat(fd)).size, written[i]);
    }
    await clean(t, await m.end());
  },
);

t.test('a filesystem that is mounted read-only and back counts on', async (t) => {
  const m = await mounted(await quotaImage());
  const { root, user } = m;
  await m.limit({ dqb_bhardlimit: 20 });
  await write(user, '/a', 10 * KIB);
  await root.remount('/', SB_RDONLY, '');
  t.equal(await outcome(() => m.quota()), 'ENOSYS', 'nothing is counted while nothing can change');
  await root.remount('/', 0, '');
  t.match(await m.quota(), { dqb_curspace: 12 * KIB, dqb_bhardlimit: 20 });
  t.equal(await outcome(() => write(user, '/a', KIB, 30 * KIB)), 'ok');
  t.equal(await outcome(() => write(user, '/a', KIB, 60 * KIB)), 'ok');
  t.equal(await outcome(() => write(user, '/a', KIB, 90 * KIB)), 'EDQUOT', 'limits are enforced as before');
  await clean(t, await m.end());
});

t.test('a project has limits of its own, whoever works on it', async (t) => {
  const m = await mounted(await quotaImage());
  const { root, user: own } = m;
  const { sb } = m.world;
  const project = (id: number): Promise<QuotaArgument> => root.quotactl(Q_GETQUOTA, PRJQUOTA, sb, id);
  /** FS_IOC_FSSETXATTR. @param xflags 0x200: what is made in it belongs to the project */
  const assign = async (path: string, projid: number, xflags = 0): Promise<void> => {
    const fd = await root.open(path, 0);
    const fsx = Buffer.alloc(28);
    fsx.writeUInt32LE(xflags, 0);
    fsx.writeUInt32LE(projid, 12);
    try {
      await root.ioctl(fd, FS_IOC_FSSETXATTR, fsx);
    } finally {
      await root.close(fd);
    }
  };
  const projectOf = async (path: string): Promise<number> => {
    const fd = await root.open(path, 0);
    const fsx = await root.ioctl(fd, FS_IOC_FSGETXATTR, Buffer.alloc(28));
    await root.close(fd);
    return fsx.readUInt32LE(12);
  };
  await root.quotactl(Q_QUOTAON, PRJQUOTA, sb);
  await own.mkdir('/p', 0o777);
  await write(own, '/out', 10 * KIB);
  await assign('/p', 42, 0x200);
  t.match(await project(42), { dqb_curinodes: 1, dqb_curspace: 0 });
  await root.quotactl(Q_SETQUOTA, PRJQUOTA, sb, 42, { dqb_bhardlimit: 40, dqb_ihardlimit: 5 });
  await own.mkdir('/p/d', 0o777);
  await write(own, '/p/d/f', 20 * KIB);
  t.equal(await projectOf('/p/d/f'), 42, 'what is made in it is of the project');
  t.match(await project(42), { dqb_curinodes: 3, dqb_curspace: 20 * KIB });
  t.match(await project(0), { dqb_curinodes: 2 }, 'the others are of project 0');
  t.match(await root.statfs('/p'), { f_blocks: 10, f_bavail: 5, f_files: 5, f_ffree: 2 }, 'df shows what it may have');
  t.ok((await root.statfs('/')).f_blocks > 1000);
  t.equal(await outcome(() => write(own, '/p/g', 24 * KIB)), 'ok', 'a short write');
  t.equal(await outcome(() => write(own, '/p/g', KIB, 30 * KIB)), 'EDQUOT');
  t.equal(await outcome(() => own.link('/out', '/p/l')), 'EXDEV', "another project's file gets no name in it");
  t.equal(await outcome(() => own.rename('/out', '/p/l')), 'EXDEV');
  t.equal(await outcome(() => own.rename('/p/g', '/g')), 'ok', 'and may leave');
  t.equal(await projectOf('/g'), 42);
  t.equal(await outcome(() => assign('/g', 0xffffffff)), 'EINVAL');
  t.equal(await outcome(() => own.quotactl(Q_GETQUOTA, PRJQUOTA, sb, 42)), 'EPERM', 'nobody is a member of a project');
  await assign('/g', 7);
  t.match(await project(42), { dqb_curinodes: 3, dqb_curspace: 20 * KIB });
  t.match(await project(7), { dqb_curinodes: 1, dqb_curspace: 20 * KIB });
  const image = await m.end();
  await clean(t, image);
  const again = await mounted(image);
  t.match(await again.root.quotactl(Q_GETQUOTA, PRJQUOTA, again.world.sb, 42), {
    dqb_curinodes: 3,
    dqb_bhardlimit: 40,
  });
  await clean(t, await again.end());
});

t.test('a type of quotas that an image does not have yet is made by the mount', async (t) => {
  const m = await mounted(await quotaImage());
  await m.limit({ dqb_bhardlimit: 60 });
  await write(m.user, '/a', 10 * KIB);
  const image = await m.end();
  const disk = decodeSuper(image, 'image', SIZE / 4096);
  encodeSuper(image, { ...disk, quotaInodes: [disk.quotaInodes[0], disk.quotaInodes[1], 0] });
  const left = disk.quotaInodes[2];
  t.equal(
    (await problemsOf(image))[0],
    `inode ${left}: has 1 links and no name`,
    'which is all that is wrong with two',
  );
  const again = await mounted(image);
  t.match(await again.quota(), { dqb_curspace: 12 * KIB, dqb_bhardlimit: 60 }, 'those that are there stay');
  t.match(
    await again.root.quotactl(Q_GETQUOTA, PRJQUOTA, again.world.sb, 0),
    { dqb_curinodes: 3 },
    'what there is is counted',
  );
  await again.end();
});

t.test("quota files are nobody's", async (t) => {
  const m = await mounted(await quotaImage(), false);
  const { sb } = m.world;
  const { quotaInodes } = infoOf(sb).super;
  t.notOk(quotaInodes.includes(0));
  for (const ino of quotaInodes) {
    t.equal(await outcome(() => sb.s_export_op?.get_inode(m.world.task, sb, ino, undefined)), 'ESTALE');
  }
  t.match(await m.quota(USRQUOTA, 0), { dqb_curspace: 0, dqb_curinodes: 1 }, 'the root directory alone');
  await write(m.user, '/a', 50_000);
  t.equal(await outcome(() => m.limit({ dqb_curspace: 5 })), 'EINVAL', 'usage cannot be set');
  await clean(t, await m.end());
});

t.test('fsck finds what is counted wrongly, and has it counted anew; limits stay', async (t) => {
  const m = await mounted(await quotaImage());
  await m.limit({ dqb_bhardlimit: 50 });
  await write(m.user, '/a', 10 * KIB);
  const image = await m.end();
  const wrong = Buffer.from(image);
  // The entry of the user in the file of users, behind the log, which has it too.
  const id = Buffer.alloc(4);
  id.writeUInt32LE(UID);
  let at = wrong.lastIndexOf(id, SIZE - 72);
  while (at >= 0 && wrong.readBigUInt64LE(at + 32) !== 50n) at = wrong.lastIndexOf(id, at - 1);
  t.ok(at > 0);
  wrong.writeBigUInt64LE(4096n, at + 48);
  t.same(await problemsOf(wrong), [`quota of user ${UID}: says 4096 bytes and 1 inodes, 12288 and 1 are right`]);
  const right = (await repaired(wrong)).image;
  await clean(t, right);
  const again = await mounted(right);
  t.match(await again.quota(), { dqb_curspace: 12 * KIB, dqb_bhardlimit: 50 });
  await clean(t, await again.end());

  const lost = Buffer.from(image);
  const disk = decodeSuper(lost, 'image', SIZE / 4096);
  encodeSuper(lost, { ...disk, quotaInodes: [disk.quotaInodes[0], 999_999, disk.quotaInodes[2]] });
  t.match(await problemsOf(lost), [/superblock: the quota file of groups is inode 999999, which is no file/]);
  const anew = await mounted((await repaired(lost)).image);
  t.match(await anew.quota(), { dqb_curspace: 12 * KIB, dqb_bhardlimit: 0 }, 'all are made anew');
  await clean(t, await anew.end());

  const broken = Buffer.from(image);
  const place = at - (at % 1024);
  broken.fill(0xff, place, place + 1024);
  t.match(await problemsOf(broken), [/the quota file of users is damaged, and its limits are lost/]);
  const made = await mounted((await repaired(broken)).image);
  t.match(await made.quota(), { dqb_curspace: 12 * KIB });
  await clean(t, await made.end());
});

t.test('what is frozen stays as it is: quotas that nobody uses are released after the thaw', async (t) => {
  const m = await mounted(await quotaImage());
  const { sb, sched, task } = m.world;
  const { releasing } = sb.s_dquot;
  await write(m.user, '/f', 5 * KIB);
  await freeze_super(task, sb);
  await drop_caches(task, sb, DROP_SLAB);
  t.ok(releasing.size > 0, 'no inode in memory is of the user');
  const before = m.world.driver.events.length;
  await m.root.sync();
  sched.fireTimers();
  await settle();
  t.ok(releasing.size > 0, 'neither a sync nor the timer releases what is frozen');
  t.same(
    m.world.driver.events.slice(before).filter(({ kind }) => kind === 'write'),
    [],
    'nothing is written',
  );
  t.equal(sb.machine.validator.total, 0);
  await thaw_super(task, sb);
  sched.fireTimers();
  for (let i = 0; releasing.size > 0 && i < 1000; i++) await settle();
  t.equal(releasing.size, 0, 'after the thaw the timer does, which came again');
  t.equal(sb.machine.validator.total, 0);
  await clean(t, await m.end());
});
