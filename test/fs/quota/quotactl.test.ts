/** quotactl(2) on a filesystem that does nothing but quotas. */

import t from 'tap';
import { GRPQUOTA, USRQUOTA } from '../../../src/fs/quota/types.js';
import { Process } from '../../../src/fs/syscalls/process.js';
import { type QuotaArgument, quotactl } from '../../../src/fs/syscalls/quota.js';
import { ROOT_CRED } from '../../../src/sched/task.js';
import {
  Q_GETFMT,
  Q_GETINFO,
  Q_GETNEXTQUOTA,
  Q_GETQUOTA,
  Q_QUOTAOFF,
  Q_QUOTAON,
  Q_SETINFO,
  Q_SETQUOTA,
  Q_SYNC,
} from '../../../src/uapi/quota.js';
import { newWorld, outcome, user } from '../world.js';
import { FakeFs } from './fake.js';

t.test('quotactl', async (t) => {
  const world = await newWorld();
  const process = new Process(world.sb, {});
  const fs = await FakeFs.mount();
  const call = (
    cmd: number,
    type: number,
    id?: number,
    given?: QuotaArgument,
    cred = ROOT_CRED,
  ): Promise<QuotaArgument> => fs.run((task) => quotactl(task, process, cmd, type, fs.sb, id, given), cred);
  t.same(await call(Q_GETFMT, USRQUOTA), { dqi_format: 4 });
  t.same(await call(Q_GETINFO, GRPQUOTA), { dqi_bgrace: 604800, dqi_igrace: 604800, dqi_flags: 0 });
  await call(Q_SETINFO, GRPQUOTA, 0, { dqi_igrace: 3600 });
  t.same(await call(Q_GETINFO, GRPQUOTA), { dqi_bgrace: 604800, dqi_igrace: 3600, dqi_flags: 0 });
  t.equal(fs.files[GRPQUOTA].readUInt32LE(12), 3600, 'in the file at once');
  await call(Q_SETQUOTA, USRQUOTA, 1000, { dqb_bhardlimit: 2000, dqb_bsoftlimit: 1000, dqb_ihardlimit: 20 });
  await call(Q_SETQUOTA, USRQUOTA, 70_000, { dqb_isoftlimit: 5 });
  const got = await call(Q_GETQUOTA, USRQUOTA, 1000, undefined, user(1000));
  t.match(got, { dqb_bhardlimit: 2000, dqb_bsoftlimit: 1000, dqb_ihardlimit: 20, dqb_isoftlimit: 0, dqb_curspace: 0 });
  t.match(await call(Q_GETNEXTQUOTA, USRQUOTA, 0), { dqb_id: 1000 });
  t.match(await call(Q_GETNEXTQUOTA, USRQUOTA, 1001), { dqb_id: 70_000, dqb_isoftlimit: 5 });
  await call(Q_SYNC, USRQUOTA);
  const wrong: readonly (readonly [string, string, () => Promise<unknown>])[] = [
    ['EINVAL', 'a type', () => call(Q_GETINFO, 5)],
    ['EINVAL', 'a command', () => call(0x800099, USRQUOTA)],
    ['EPERM', "another's quota", () => call(Q_GETQUOTA, USRQUOTA, 1000, undefined, user(1001))],
    ['EPERM', "a limit of one's own", () => call(Q_SETQUOTA, USRQUOTA, 1000, {}, user(1000))],
    ['EPERM', 'to list', () => call(Q_GETNEXTQUOTA, USRQUOTA, 1000, undefined, user(1000))],
    ['ok', "a group's quota, for its member", () => call(Q_GETQUOTA, GRPQUOTA, 8, undefined, user(1, 2, [8]))],
    ['EEXIST', 'on twice', () => call(Q_QUOTAON, USRQUOTA)],
    ['ok', 'off', () => call(Q_QUOTAOFF, USRQUOTA)],
    ['EEXIST', 'off twice', () => call(Q_QUOTAOFF, USRQUOTA)],
    ['ok', 'on again', () => call(Q_QUOTAON, USRQUOTA)],
    ['ENOENT', 'none follows', () => call(Q_GETNEXTQUOTA, USRQUOTA, 70_001)],
    ['ERANGE', 'a limit', () => call(Q_SETQUOTA, USRQUOTA, 1, { dqb_bhardlimit: 2 ** 50 })],
    ['EINVAL', 'half an inode', () => call(Q_SETQUOTA, USRQUOTA, 1, { dqb_ihardlimit: 0.5 })],
    ['EINVAL', 'a negative grace', () => call(Q_SETINFO, USRQUOTA, 0, { dqi_bgrace: -1 })],
  ];
  for (const [expected, what, body] of wrong) t.equal(await outcome(body), expected, what);
  t.equal(await outcome(() => world.run((task) => quotactl(task, process, Q_GETINFO, 0, world.sb))), 'ENOSYS');
  const off = await FakeFs.mount();
  off.sb.s_dquot.loaded.length = 0;
  t.equal(await outcome(() => off.run((task) => quotactl(task, process, Q_GETQUOTA, 0, off.sb, 0))), 'ESRCH');
  t.equal(await outcome(() => off.run((task) => quotactl(task, process, Q_QUOTAON, 0, off.sb))), 'EINVAL');
  t.equal(await outcome(() => off.run((task) => quotactl(task, process, Q_GETFMT, 0, off.sb))), 'ESRCH');
  t.same(fs.messages(), []);
  await process.exit();
  await world.end();
});
