/** Soft limits of latch: when their grace begins and ends, what it means for promises, and that it outlives mounts. */

import t, { type Test } from 'tap';
import { PRJQUOTA, type QuotaType, USRQUOTA } from '../../src/fs/quota/types.js';
import { SB_RDONLY } from '../../src/fs/super-block.js';
import type { QuotaArgument } from '../../src/fs/syscalls/quota.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { COMPAT_RECOUNT, decodeSuper, encodeSuper } from '../../src/latch/format/superblock.js';
import { O_CREAT, O_DIRECT, O_RDWR } from '../../src/uapi/fcntl.js';
import { Q_GETINFO, Q_GETQUOTA, Q_QUOTAON, Q_SETINFO, Q_SETQUOTA } from '../../src/uapi/quota.js';
import { outcome, user } from '../fs/world.js';
import { INHERIT, project } from './limited.js';
import { freshImage, numbers, problemsOf, World } from './world.js';

const KIB = 1024;
const UID = 1000;
const PROJECT = 42;
/** Long ago: a grace that is over. */
const OVER = 1;

interface Mounted {
  readonly world: World;
  readonly root: Syscalls;
  readonly user: Syscalls;
  quota(type?: QuotaType): Promise<QuotaArgument>;
  set(given: QuotaArgument, type?: QuotaType): Promise<QuotaArgument>;
  /** Seconds since 1970. */
  now(): number;
  /** Unmount. @returns the image */
  end(t: Test): Promise<Buffer>;
}

async function mounted(image: Buffer): Promise<Mounted> {
  const world = await World.mount(image);
  const { sb, sched } = world;
  const processes = [new Process(sb, { umask: 0 }), new Process(sb, { umask: 0, cred: user(UID) })] as const;
  const [root, own] = [syscalls(processes[0]), syscalls(processes[1])];
  for (const type of [USRQUOTA, PRJQUOTA]) await root.quotactl(Q_QUOTAON, type, sb);
  await root.chmod('/', 0o777);
  const idOf = (type: QuotaType): number => (type === USRQUOTA ? UID : PROJECT);
  return {
    world,
    root,
    user: own,
    quota: (type = USRQUOTA) => root.quotactl(Q_GETQUOTA, type, sb, idOf(type)),
    set: (given, type = USRQUOTA) => root.quotactl(Q_SETQUOTA, type, sb, idOf(type), given),
    now: () => sched.realtime().sec,
    end: async (t) => {
      for (const process of processes) await process.exit();
      t.equal(await world.unmount(), 0);
      t.equal(sb.machine.validator.total, 0);
      t.same(await problemsOf(world.driver.now), []);
      return world.driver.now;
    },
  };
}

const quotaImage = (): Promise<Buffer> => freshImage(8 << 20, { quota: true });

async function write(sys: Syscalls, name: string, bytes: number, at = 0, flags = 0): Promise<string> {
  return outcome(async () => {
    const fd = await sys.open(name, O_CREAT | O_RDWR | flags, 0o666);
    try {
      await sys.pwrite(fd, Buffer.alloc(bytes, 'x'), at);
    } finally {
      await sys.close(fd);
    }
  });
}

t.test('a grace begins above the soft limit, and outlives mounts', async (t) => {
  const m = await mounted(await quotaImage());
  await m.root.quotactl(Q_SETINFO, USRQUOTA, m.world.sb, 0, { dqi_bgrace: 1000, dqi_igrace: 500 });
  await m.set({ dqb_bsoftlimit: 8, dqb_isoftlimit: 1 });
  t.equal(await write(m.user, '/a', 8 * KIB), 'ok');
  t.match(await m.quota(), { dqb_btime: 0, dqb_itime: 0 }, 'up to the limits there is none');
  const before = m.now();
  t.equal(await write(m.user, '/a', KIB, 8 * KIB), 'ok');
  const { dqb_btime: btime = 0 } = await m.quota();
  t.ok(btime >= before + 1000 && btime <= m.now() + 1000, 'a promise begins it');
  t.equal(await write(m.user, '/b', 0), 'ok');
  const { dqb_itime: itime = 0 } = await m.quota();
  t.ok(itime >= before + 500 && itime <= m.now() + 500);
  await m.root.quotactl(Q_SETINFO, USRQUOTA, m.world.sb, 0, { dqi_bgrace: 5 });
  t.equal(await write(m.user, '/a', KIB, 12 * KIB), 'ok');
  t.match(await m.quota(), { dqb_btime: btime, dqb_itime: itime }, 'another length is for those who begin later');
  await m.root.remount('/', SB_RDONLY, '');
  await m.root.remount('/', 0, '');
  t.match(await m.quota(), { dqb_btime: btime, dqb_itime: itime }, 'read-only and back');
  const again = await mounted(await m.end(t));
  t.match(await again.quota(), { dqb_btime: btime, dqb_itime: itime, dqb_bsoftlimit: 8 }, 'the next mount');
  t.match(await again.root.quotactl(Q_GETINFO, USRQUOTA, again.world.sb), { dqi_bgrace: 5, dqi_igrace: 500 });
  await again.set({ dqb_bsoftlimit: 8 });
  const { dqb_btime: anew = 0 } = await again.quota();
  t.ok(anew < btime, 'who gets a limit has the whole grace from then on, of the length that it has now');
  t.equal((await again.quota()).dqb_itime, itime, 'of inodes nothing was said');
  await again.end(t);
});

t.test('when the grace is over, the soft limit is a hard one until less is in use', async (t) => {
  const m = await mounted(await quotaImage());
  await m.set({ dqb_bsoftlimit: 8, dqb_bhardlimit: 100, dqb_isoftlimit: 2 });
  t.equal(await write(m.user, '/a', 16 * KIB), 'ok');
  await m.set({ dqb_btime: OVER });
  t.equal(await write(m.user, '/a', KIB, 16 * KIB), 'EDQUOT');
  t.equal(await write(m.user, '/a', 4 * KIB, 0), 'ok', 'what is there can be written over');
  t.equal(await write(m.user, '/b', 0), 'ok', 'an inode is another matter');
  t.equal(await write(m.root, '/a', KIB, 16 * KIB), 'ok', 'root may');
  await m.user.truncate('/a', 12 * KIB);
  t.equal((await m.quota()).dqb_btime, OVER, 'less, but not little enough');
  t.equal(await write(m.user, '/a', KIB, 12 * KIB), 'EDQUOT');
  await m.user.truncate('/a', 8 * KIB);
  t.equal((await m.quota()).dqb_btime, 0);
  t.equal(await write(m.user, '/a', 8 * KIB, 8 * KIB), 'ok', 'a new grace begins');
  t.equal(await write(m.user, '/a', 100 * KIB, 16 * KIB), 'ok', 'a short write');
  t.equal((await m.quota()).dqb_curspace, 100 * KIB, 'up to the hard limit');
  t.equal(await write(m.user, '/c', 0), 'ok', 'an inode above the soft limit');
  await m.set({ dqb_itime: OVER });
  t.equal(await write(m.user, '/d', 0), 'EDQUOT');
  t.equal(await outcome(() => m.user.link('/a', '/l')), 'ok', 'a link takes none');
  await m.user.unlink('/c');
  t.equal((await m.quota()).dqb_itime, 0);
  t.equal(await write(m.user, '/d', 0), 'ok');
  await m.set({ dqb_bsoftlimit: 0, dqb_isoftlimit: 0 });
  t.match(await m.quota(), { dqb_btime: 0, dqb_itime: 0 }, 'without soft limits there is none');
  await m.end(t);
});

t.test('what was promised in time is written when the grace is over', async (t) => {
  const m = await mounted(await quotaImage());
  await m.set({ dqb_bsoftlimit: 8 });
  // So scattered that the tree needs blocks beside those that were promised.
  for (let i = 0; i < 120; i++) t.equal(await write(m.user, '/a', 100, i * 8 * KIB), 'ok');
  await m.set({ dqb_btime: OVER });
  t.equal(await write(m.user, '/a', 100, 4 * KIB), 'EDQUOT');
  t.equal(await write(m.user, '/a', 4 * KIB, 4 * KIB, O_DIRECT), 'EDQUOT', 'past the cache as well');
  await m.user.sync();
  const fd = await m.user.open('/a', O_RDWR);
  t.equal(await outcome(() => m.user.fsync(fd)), 'ok');
  await m.user.close(fd);
  t.ok(((await m.quota()).dqb_curspace ?? 0) > 120 * 4 * KIB);
  t.equal((await m.quota()).dqb_btime, OVER);
  await m.end(t);
});

t.test('a grace that only promises have begun ends with them', async (t) => {
  const m = await mounted(await quotaImage());
  await m.set({ dqb_bsoftlimit: 8 });
  t.equal(await write(m.user, '/a', 16 * KIB), 'ok');
  t.not((await m.quota()).dqb_btime, 0);
  await m.user.truncate('/a', 0);
  t.match(await m.quota(), { dqb_btime: 0, dqb_curspace: 0 });
  await m.end(t);
});

t.test('a call that the group or the project refuses begins no grace of the user', async (t) => {
  const m = await mounted(await quotaImage());
  await m.root.mkdir('/p', 0o777);
  await project(m.root, '/p', PROJECT, INHERIT);
  await m.set({ dqb_bhardlimit: 8, dqb_ihardlimit: 3 }, PRJQUOTA);
  await m.set({ dqb_bsoftlimit: 8, dqb_isoftlimit: 2 });
  t.equal(await write(m.user, '/p/a', 8 * KIB), 'ok');
  t.equal(await write(m.user, '/p/a', KIB, 8 * KIB), 'EDQUOT');
  t.equal(await write(m.user, '/p/b', 0), 'ok');
  t.equal(await write(m.user, '/p/c', 0), 'EDQUOT');
  t.match(await m.quota(), { dqb_btime: 0, dqb_itime: 0, dqb_curinodes: 2 });
  await m.end(t);
});

t.test('a grace after a crash is that of the files after it', async (t) => {
  const m = await mounted(await quotaImage());
  await m.set({ dqb_bsoftlimit: 8 });
  for (let i = 0; i < 6; i++) {
    t.equal(await write(m.user, '/a', 4 * KIB, i * 4 * KIB), 'ok');
    await m.user.sync();
  }
  await m.user.truncate('/a', 4 * KIB);
  await m.user.sync();
  const choose = numbers(7);
  const { driver } = m.world;
  for (const cut of driver.flushes()) {
    const again = await mounted(driver.crash(cut, choose));
    const { dqb_curspace = 0, dqb_btime = 0, dqb_bsoftlimit = 0 } = await again.quota();
    if (dqb_bsoftlimit > 0) t.equal(dqb_curspace > 8 * KIB, dqb_btime > 0, `${dqb_curspace} bytes after ${cut} events`);
    await again.end(t);
  }
  await m.end(t);
});

t.test('a grace goes on when everything is counted anew', async (t) => {
  const m = await mounted(await quotaImage());
  await m.set({ dqb_bsoftlimit: 8, dqb_isoftlimit: 1 });
  t.equal(await write(m.user, '/a', 16 * KIB), 'ok');
  t.equal(await write(m.user, '/b', 0), 'ok');
  await m.set({ dqb_btime: OVER, dqb_itime: 2 * OVER });
  const image = await m.end(t);
  const disk = decodeSuper(image, 'image', image.length / 4096);
  encodeSuper(image, { ...disk, compat: disk.compat | COMPAT_RECOUNT });
  const again = await mounted(image);
  t.match(await again.quota(), { dqb_btime: OVER, dqb_itime: 2 * OVER, dqb_curspace: 16 * KIB, dqb_curinodes: 2 });
  t.equal(await write(again.user, '/a', KIB, 16 * KIB), 'EDQUOT');
  await again.end(t);
});
