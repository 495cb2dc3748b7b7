/** Charging inodes: limits and their grace, promises, changes of hands, and what of it reaches the quota files. */

import t from 'tap';
import { address_space_operations } from '../../../src/contract/address-space.js';
import { file_operations } from '../../../src/contract/file.js';
import type { Row } from '../../../src/contract/row.js';
import { inode_init } from '../../../src/fs/inode.js';
import {
  dquot_alloc_inode,
  dquot_alloc_space,
  dquot_claim_space,
  dquot_drop,
  dquot_free_inode,
  dquot_free_space,
  dquot_initialize,
  dquot_release_reservation,
  dquot_reserve_space,
} from '../../../src/fs/quota/charge.js';
import { dquot_commit, dquot_mark_dquot_dirty, write_dquot } from '../../../src/fs/quota/dquot.js';
import { v2_format_ops } from '../../../src/fs/quota/quota-v2.js';
import { dquot_quotactl_ops as ctl } from '../../../src/fs/quota/quotactl.js';
import { dquot_disable, dquot_writeback_dquots } from '../../../src/fs/quota/switch.js';
import { dquot_transfer } from '../../../src/fs/quota/transfer.js';
import {
  DQ_ACTIVE,
  type dquot_operations,
  GRPQUOTA,
  type IfDqblk,
  type QuotaType,
  USRQUOTA,
} from '../../../src/fs/quota/types.js';
import { call } from '../../../src/locking/context.js';
import type { Held } from '../../../src/locking/held.js';
import { errno } from '../../../src/sched/errno.js';
import { outcome, user } from '../world.js';
import { FakeFs, type FakeInode } from './fake.js';

const KIB = 1024;

const limit = (fs: FakeFs, type: QuotaType, id: number, dqblk: Partial<IfDqblk>): Promise<void> =>
  fs.run(async (task) => ctl.set_dqblk(task, fs.sb, type, id, dqblk));
const quota = (fs: FakeFs, type: QuotaType, id: number): Promise<IfDqblk> =>
  fs.run(async (task) => ctl.get_dqblk(task, fs.sb, type, id));

/** An inode of a user that is charged. */
async function charged(fs: FakeFs, uid: number, gid = uid): Promise<FakeInode> {
  const inode = fs.inode(uid, gid);
  await fs.run(
    async (task) => {
      await dquot_initialize(task, inode);
      await dquot_alloc_inode(task, inode);
    },
    user(uid, gid),
  );
  return inode;
}

const take = (fs: FakeFs, inode: FakeInode, bytes: number, cred = user(inode.i_uid)): Promise<string> =>
  fs.run((task) => outcome(() => dquot_alloc_space(task, inode, bytes, inode.counting(bytes))), cred);

t.test('hard limits hold for users, not for who has CAP_SYS_RESOURCE', async (t) => {
  const fs = await FakeFs.mount();
  await limit(fs, USRQUOTA, 1000, { dqb_bhardlimit: 10, dqb_ihardlimit: 2 });
  const inode = await charged(fs, 1000);
  t.equal(await take(fs, inode, 10 * KIB), 'ok', 'up to the limit');
  t.equal(await take(fs, inode, 512), 'EDQUOT');
  t.equal(inode.i_blocks, 20, 'what is refused is not counted by the inode');
  t.equal((await quota(fs, USRQUOTA, 1000)).dqb_curspace, 10 * KIB, 'nor by the quota');
  t.equal((await quota(fs, GRPQUOTA, 1000)).dqb_curspace, 10 * KIB, 'nor by the group that would have allowed it');
  t.equal(await take(fs, inode, 4 * KIB, user(0)), 'ok', 'root may');
  const late = fs.task();
  late.anonymous = true;
  t.equal(
    await outcome(() => dquot_alloc_space(late, inode, 1, inode.counting(0))),
    'EDQUOT',
    'nobody in particular may not',
  );
  await fs.run(
    (task) => dquot_alloc_space(task, inode, 2 * KIB, inode.counting(2 * KIB), { nofail: true }),
    user(1000),
  );
  t.equal((await quota(fs, USRQUOTA, 1000)).dqb_curspace, 16 * KIB, 'what has happened is counted');
  await fs.run((task) => dquot_free_space(task, inode, 16 * KIB, inode.counting(-16 * KIB)), user(1000));
  t.equal(await take(fs, inode, 10 * KIB), 'ok');
  await charged(fs, 1000);
  t.equal(await outcome(() => charged(fs, 1000)), 'EDQUOT', 'a third inode');
  await fs.run((task) => dquot_free_inode(task, inode));
  t.equal((await quota(fs, USRQUOTA, 1000)).dqb_curinodes, 1);
  t.same(fs.messages(), []);
});

t.test('a group limits what its members have together', async (t) => {
  const fs = await FakeFs.mount();
  await limit(fs, GRPQUOTA, 50, { dqb_bhardlimit: 8 });
  const [one, two] = [await charged(fs, 1, 50), await charged(fs, 2, 50)];
  t.equal(await take(fs, one, 5 * KIB), 'ok');
  t.equal(await take(fs, two, 4 * KIB), 'EDQUOT');
  t.equal((await quota(fs, USRQUOTA, 2)).dqb_curspace, 0, 'the user was not charged for what the group has refused');
  t.equal(await take(fs, two, 3 * KIB), 'ok');
});

t.test('soft limits become hard when their grace is over', async (t) => {
  const fs = await FakeFs.mount();
  await fs.run(async (task) => ctl.set_info(task, fs.sb, USRQUOTA, { dqi_bgrace: 100, dqi_igrace: 50 }));
  await limit(fs, USRQUOTA, 7, { dqb_bsoftlimit: 4, dqb_bhardlimit: 100, dqb_isoftlimit: 1 });
  const inode = await charged(fs, 7);
  const now = (): number => fs.sched.realtime().sec;
  t.equal(await take(fs, inode, 4 * KIB), 'ok');
  t.equal((await quota(fs, USRQUOTA, 7)).dqb_btime, 0, 'up to the limit nothing begins');
  t.equal(await take(fs, inode, 4 * KIB), 'ok');
  t.equal((await quota(fs, USRQUOTA, 7)).dqb_btime, now() + 100, 'above it the grace begins');
  await fs.sched.advance(99_000);
  t.equal(await take(fs, inode, KIB), 'ok', 'within it');
  await fs.sched.advance(2_000);
  t.equal(await take(fs, inode, KIB), 'EDQUOT', 'after it');
  t.equal(await take(fs, inode, KIB, user(0)), 'ok', 'root may');
  await fs.run((task) => dquot_free_space(task, inode, 6 * KIB, inode.counting(-6 * KIB)));
  t.equal((await quota(fs, USRQUOTA, 7)).dqb_btime, 0, 'below the limit it is forgotten');
  t.equal(await take(fs, inode, KIB), 'ok');
  await charged(fs, 7);
  t.equal((await quota(fs, USRQUOTA, 7)).dqb_itime, now() + 50);
  await fs.sched.advance(51_000);
  t.equal(await outcome(() => charged(fs, 7)), 'EDQUOT');
  await limit(fs, USRQUOTA, 7, { dqb_isoftlimit: 10 });
  t.equal((await quota(fs, USRQUOTA, 7)).dqb_itime, 0, 'a higher limit ends it');
  await limit(fs, USRQUOTA, 7, { dqb_isoftlimit: 1 });
  t.equal((await quota(fs, USRQUOTA, 7)).dqb_itime, now() + 50, 'a lower one begins it');
  t.same(fs.messages(), []);
});

t.test('promises count as used, and are in memory only', async (t) => {
  const fs = await FakeFs.mount({ journaled: true });
  await limit(fs, USRQUOTA, 9, { dqb_bhardlimit: 8 });
  const inode = await charged(fs, 9);
  const promise = (bytes: number): Promise<string> =>
    fs.run((task) => outcome(() => dquot_reserve_space(task, inode, bytes, inode.promising(bytes))), user(9));
  t.equal(await promise(6 * KIB), 'ok');
  t.equal(await promise(4 * KIB), 'EDQUOT');
  t.equal((await quota(fs, USRQUOTA, 9)).dqb_curspace, 6 * KIB);
  t.equal((await fs.quotas()).get(9)?.dqb_curspace, 0, 'the file does not know');
  await fs.run((task) => dquot_release_reservation(task, inode, 2 * KIB, inode.promising(-2 * KIB)));
  t.equal(await promise(4 * KIB), 'ok');
  const kept = (): void => {
    inode.reserved -= 8 * KIB;
  };
  await fs.run((task) => dquot_claim_space(task, inode, 8 * KIB, kept));
  t.equal((await fs.quotas()).get(9)?.dqb_curspace, 8 * KIB, 'it does when the promise is kept');
  t.equal(inode.reserved, 0);
  t.same(fs.messages(), []);
});

t.test('what changes hands is charged to the new owner', async (t) => {
  const fs = await FakeFs.mount();
  await limit(fs, GRPQUOTA, 70, { dqb_bhardlimit: 5 });
  const inode = await charged(fs, 1, 1);
  await take(fs, inode, 8 * KIB);
  await fs.run((task) => dquot_reserve_space(task, inode, 4 * KIB, inode.promising(4 * KIB)));
  const give = (uid: number, gid: number, cred = user(0)): Promise<string> =>
    fs.run(
      (task) =>
        outcome(async () => {
          await dquot_transfer(task, inode, [uid, gid, undefined]);
          const attrs = inode_init(inode);
          attrs.i_uid = uid;
          attrs.i_gid = gid;
        }),
      cred,
    );
  t.equal(await give(1, 70, user(1)), 'EDQUOT', 'a group that has no room');
  t.equal((await quota(fs, GRPQUOTA, 70)).dqb_curinodes, 0, 'has got nothing');
  await limit(fs, GRPQUOTA, 71, { dqb_ihardlimit: 1 });
  await charged(fs, 3, 71);
  t.equal(await give(2, 71, user(1)), 'EDQUOT', 'a group that has no room for another file');
  const ofUser = (id: number): Promise<number[]> =>
    quota(fs, USRQUOTA, id).then((q) => [q.dqb_curspace, q.dqb_curinodes]);
  t.same(await ofUser(2), [0, 0], 'what the user was charged already is given back');
  t.same(await ofUser(1), [12 * KIB, 1]);
  t.equal(await give(2, 1), 'ok');
  t.notOk((await fs.quotas()).has(1), 'who has given away all leaves the file');
  t.same(await ofUser(1), [0, 0]);
  t.same(await ofUser(2), [12 * KIB, 1]);
  t.same(await quota(fs, GRPQUOTA, 1).then((q) => [q.dqb_curspace, q.dqb_curinodes]), [12 * KIB, 1]);
  await fs.run((task) => dquot_release_reservation(task, inode, 4 * KIB, inode.promising(-4 * KIB)));
  t.equal((await quota(fs, USRQUOTA, 2)).dqb_curspace, 8 * KIB, 'the promise went along');
  t.same(fs.messages(), []);
});

t.test('many tasks at once: everything is counted once, and a quota is read once', async (t) => {
  const fs = await FakeFs.mount({ journaled: true });
  await limit(fs, USRQUOTA, 3, { dqb_bhardlimit: 100 });
  await fs.run((task) => dquot_writeback_dquots(task, fs.sb));
  fs.called.length = 0;
  const inodes = Array.from({ length: 8 }, () => fs.inode(3, 4));
  const results = await Promise.all(
    inodes.map((inode) =>
      fs.run(async (task) => {
        await dquot_initialize(task, inode);
        await dquot_alloc_inode(task, inode);
        return outcome(() => dquot_alloc_space(task, inode, 15 * KIB, inode.counting(15 * KIB)));
      }, user(3)),
    ),
  );
  t.equal(results.filter((result) => result === 'ok').length, 6, 'as many as fit');
  t.equal((await fs.quotas()).get(3)?.dqb_curspace, 90 * KIB);
  t.equal((await fs.quotas(GRPQUOTA)).get(4)?.dqb_curinodes, 8);
  await Promise.all(
    inodes.map((inode, i) => fs.run((task) => dquot_transfer(task, inode, [10 + (i % 2), undefined, undefined]))),
  );
  const [a, b] = [await quota(fs, USRQUOTA, 10), await quota(fs, USRQUOTA, 11)];
  t.equal(a.dqb_curspace + b.dqb_curspace, 90 * KIB);
  t.same(fs.messages(), []);
});

t.test('who says nothing leaves the file, some time after the last inode', async (t) => {
  const fs = await FakeFs.mount();
  const inode = await charged(fs, 20);
  await take(fs, inode, 3 * KIB);
  await fs.run((task) => dquot_writeback_dquots(task, fs.sb));
  t.equal((await fs.quotas()).get(20)?.dqb_curspace, 3 * KIB, 'a sync writes');
  await fs.run(async (task) => {
    await dquot_free_space(task, inode, 3 * KIB, inode.counting(-3 * KIB));
    await dquot_free_inode(task, inode);
    dquot_drop(task, inode);
  });
  t.ok((await fs.quotas()).has(20));
  await fs.sched.advance(1500);
  t.notOk((await fs.quotas()).has(20));
  t.ok(fs.called.includes('release_dquot'));
  const again = await charged(fs, 20);
  t.equal(await take(fs, again, KIB), 'ok', 'it comes back');
  await limit(fs, USRQUOTA, 21, { dqb_bhardlimit: 5 });
  await fs.run((task) => dquot_disable(task, fs.sb));
  t.equal(again.i_dquot, undefined, 'switched off');
  t.equal((await fs.quotas()).get(20)?.dqb_curspace, KIB, 'with everything in the file');
  t.equal((await fs.quotas()).get(21)?.dqb_bhardlimit, 5 * KIB, 'limits stay');
  t.equal(await take(fs, again, KIB), 'ok', 'nobody is charged then');
  t.same(fs.messages(), []);
});

t.test('what cannot be written stays dirty', async (t) => {
  const fs = await FakeFs.mount({ journaled: true });
  const inode = await charged(fs, 30);
  fs.broken = true;
  t.equal(await take(fs, inode, KIB), 'ok');
  t.equal(await fs.run((task) => outcome(() => dquot_writeback_dquots(task, fs.sb))), 'EIO', 'a sync says so');
  fs.broken = false;
  await fs.run((task) => dquot_writeback_dquots(task, fs.sb));
  t.equal((await fs.quotas()).get(30)?.dqb_curspace, KIB);
});

t.test('what cannot be written does not keep back the rest', async (t) => {
  const refuse = (): never => {
    throw errno('EIO');
  };
  const { write_file_info: write, release_dqblk: release } = v2_format_ops;
  const infos = await FakeFs.mount();
  infos.useFormat({
    write_file_info: (task, sb, type, info) => (type === USRQUOTA ? refuse : write)(task, sb, type, info),
  });
  const sync = (fs: FakeFs): Promise<string> => fs.run((task) => outcome(() => dquot_writeback_dquots(task, fs.sb)));
  for (const loaded of infos.sb.s_dquot.loaded) if (loaded !== undefined) loaded.info.dirty = true;
  t.equal(await sync(infos), 'EIO');
  t.equal(infos.sb.s_dquot.loaded[GRPQUOTA]?.info.dirty, false, 'the info of the other type is written');

  const quotas = await FakeFs.mount();
  quotas.useFormat({
    release_dqblk: (task, dquot, info) => (dquot.dq_id === 30 ? refuse : release)(task, dquot, info),
  });
  for (const id of [30, 31]) {
    const inode = await charged(quotas, id);
    await quotas.run((task) => dquot_free_inode(task, inode));
    dquot_drop(quotas.task(), inode);
  }
  t.equal(await sync(quotas), 'EIO');
  t.notOk((await quotas.quotas()).has(31), 'the other quota that nobody uses is released');
});

t.test('an info that could not be written stays dirty', async (t) => {
  const fs = await FakeFs.mount();
  fs.broken = true;
  const set = (): Promise<string> =>
    fs.run((task) => outcome(async () => ctl.set_info(task, fs.sb, USRQUOTA, { dqi_bgrace: 7 })));
  t.equal(await set(), 'EIO');
  fs.broken = false;
  await fs.run((task) => dquot_writeback_dquots(task, fs.sb));
  t.equal(fs.files[USRQUOTA].readUInt32LE(8), 7, 'a sync comes to it again');
});

t.test('a wrong filesystem is told what is wrong with it', async (t) => {
  const wrong = async (change: (fs: FakeFs, op: dquot_operations) => dquot_operations): Promise<string[]> => {
    const fs = await FakeFs.mount({ journaled: true });
    const { dq_op } = fs.sb;
    if (dq_op === undefined) throw new Error('no quotas');
    fs.sb.dq_op = change(fs, dq_op);
    const inode = await charged(fs, 60);
    await take(fs, inode, KIB);
    await fs.run((task) => dquot_writeback_dquots(task, fs.sb));
    return [...new Set(fs.messages())];
  };
  const marking = await wrong((_fs, op) => ({
    ...op,
    mark_dirty: async (task, dquot) => {
      dquot_mark_dquot_dirty(task, dquot);
      await dquot_commit(task, dquot);
    },
  }));
  t.ok(marking.some((message) => /mark_dirty comes back into the filesystem through quota_write/.test(message)));
  const kept: Held[] = [];
  const leaking = await wrong((fs, op) => ({
    ...op,
    write_dquot: async (task, dquot) => {
      await op.write_dquot(task, dquot);
      kept.push(await fs.sb.s_dquot.dqio_sem.write(task));
      setImmediate(() => kept.pop()?.release());
    },
  }));
  t.match(leaking[0], /^dquot_operations.write_dquot returned with dqio_sem still held$/);
  const inverted = await wrong((fs, op) => ({
    ...op,
    acquire_dquot: async (task, dquot) => {
      using _io = await fs.sb.s_dquot.dqio_sem.read(task);
      using _lock = await dquot.dq_lock.lock(task);
      await fs.sched.yield();
      dquot.dq_flags |= DQ_ACTIVE;
    },
  }));
  t.ok(
    inverted.some((message) => /order|circle|dq_lock/.test(message)),
    `dqio_sem before dq_lock: ${inverted[0]}`,
  );
});

t.test('operations and numbers are held to their locks', async (t) => {
  const fs = await FakeFs.mount();
  const inode = await charged(fs, 40);
  const [dquot] = inode.i_dquot ?? [];
  if (dquot === undefined) throw new Error('not charged');
  await fs.run((task) => dquot_commit(task, dquot));
  t.match(fs.messages()[0], /quotas in use is read without dqonoff_sem or dqptr_sem/);
  fs.violations.length = 0;
  await fs.run((task) => write_dquot(task, dquot, fs.sb.s_dquot.dqptr_sem));
  t.match(fs.messages()[0], /dquot_operations.write_dquot/);
  const underUmount = (row: Row): Promise<void> =>
    fs.run(async (task) => {
      fs.violations.length = 0;
      dquot_mark_dquot_dirty(task, dquot);
      using _umount = await fs.sb.s_umount.read(task);
      using _ptr = await fs.sb.s_dquot.dqptr_sem.read(task);
      await call(task, row, {}, () => write_dquot(task, dquot, fs.sb.s_dquot.dqptr_sem));
    });
  await underUmount(address_space_operations.writepages);
  t.same(fs.messages(), [], 'a sync writes pages with s_umount held');
  await underUmount(file_operations.fallocate);
  t.match(fs.messages()[0], /quota_write: s_umount of sb must not be held/, 'a file operation may not');
});
