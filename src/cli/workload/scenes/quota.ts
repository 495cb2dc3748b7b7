/** Scenes of quotas: of a user who has limits, and of root who sets them. */

import { DROP_SLAB, drop_caches } from '../../../fs/drop-caches.js';
import { GRPQUOTA, USRQUOTA } from '../../../fs/quota/types.js';
import type { QuotaArgument } from '../../../fs/syscalls/quota.js';
import { Process, syscalls } from '../../../fs/syscalls.js';
import { Task, userCred } from '../../../sched/task.js';
import { O_CREAT, O_RDWR } from '../../../uapi/fcntl.js';
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
} from '../../../uapi/quota.js';
import { type Scene, said } from './scene.js';

const UID = 1000;
const GID = 1001;

/** What is used of a quota. */
function used({ dqb_curspace, dqb_curinodes }: QuotaArgument): unknown {
  return [dqb_curspace, dqb_curinodes];
}

export const QUOTAS: readonly Scene[] = [
  {
    name: 'quotas',
    quota: true,
    run: async (sys, other, sb) => {
      const quota = async (type: number, id: number): Promise<unknown> =>
        used(await sys.quotactl(Q_GETQUOTA, type, sb, id));
      for (const type of [USRQUOTA, GRPQUOTA]) await sys.quotactl(Q_QUOTAON, type, sb);
      await sys.quotactl(Q_SETINFO, GRPQUOTA, sb, 0, { dqi_bgrace: 3600 });
      await sys.quotactl(Q_SETQUOTA, USRQUOTA, sb, UID, { dqb_bhardlimit: 64, dqb_bsoftlimit: 20, dqb_ihardlimit: 3 });
      await sys.chmod('/', 0o777);
      const process = new Process(sb, { cred: userCred(UID, GID) });
      const user = syscalls(process);
      await user.mkdir('/d', 0o755);
      const fd = await user.open('/d/f', O_CREAT | O_RDWR, 0o644);
      const results: unknown[] = [
        await Promise.all([
          said(user.pwrite(fd, Buffer.alloc(30_000, 'q'), 0)),
          said(user.pwrite(fd, Buffer.alloc(30_000, 'q'), 100_000)),
          said(other.mkdir('/e', 0o755)),
        ]),
        await said(user.pwrite(fd, Buffer.alloc(9000), 200_000)),
        await quota(USRQUOTA, UID),
      ];
      await Promise.all([user.fsync(fd), user.setxattr('/d/f', 'user.a', Buffer.from('1')).catch(() => undefined)]);
      await user.ftruncate(fd, 50_000);
      results.push(await quota(GRPQUOTA, GID), await said(user.fallocate(fd, 0, 0, 60_000)));
      await Promise.all([sys.chown('/d/f', 7, 8), user.pwrite(fd, Buffer.alloc(5000, 'r'), 10_000)]);
      results.push(await quota(USRQUOTA, 7), await quota(USRQUOTA, UID));
      for (const owner of [21, 23]) await sys.chown('/e', owner, owner + 1);
      results.push(await quota(USRQUOTA, 23));
      await user.close(await user.open('/d/g', O_CREAT | O_RDWR, 0o644));
      results.push(await said(user.open('/d/h', O_CREAT | O_RDWR, 0o644)));
      await user.close(fd);
      await process.exit();
      for (const name of ['/d/f', '/d/g']) await sys.unlink(name);
      await drop_caches(new Task(sb.sched, sb.machine.validator, { comm: 'drop' }), sb, DROP_SLAB);
      await sys.sync();
      results.push(await sys.quotactl(Q_GETNEXTQUOTA, USRQUOTA, sb, 1).then(({ dqb_id }) => dqb_id));
      results.push(await sys.quotactl(Q_GETINFO, GRPQUOTA, sb), await sys.quotactl(Q_GETFMT, USRQUOTA, sb));
      await sys.quotactl(Q_SYNC, USRQUOTA, sb);
      await sys.quotactl(Q_QUOTAOFF, USRQUOTA, sb);
      return results;
    },
  },
];
