/** Walking into the control directory: mounted once, whoever comes at the same time; listed by positions that stay true. */

import t, { type Test } from 'tap';
import { newMachine, openSource, type ValidatedMachine } from '../../src/cli/machine.js';
import { attachControl, CONTROL_NAME } from '../../src/control/automount.js';
import { controlFile } from '../../src/control/commands.js';
import type { ControlFile } from '../../src/control/file.js';
import { dput } from '../../src/fs/dcache.js';
import type { Dentry } from '../../src/fs/dentry.js';
import { fput } from '../../src/fs/file-table.js';
import { lookup_one } from '../../src/fs/namei.js';
import { follow_managed, lookup_mnt } from '../../src/fs/namespace.js';
import { vfs_open } from '../../src/fs/open.js';
import { vfs_iter_read, vfs_iter_write } from '../../src/fs/read-write.js';
import { iterate_dir } from '../../src/fs/readdir.js';
import { vfs_llseek } from '../../src/fs/seek.js';
import { kill_sb, vfs_mount } from '../../src/fs/super.js';
import type { SuperBlock } from '../../src/fs/super-block.js';
import { SB_UNFROZEN } from '../../src/fs/super-writers.js';
import { mkfs } from '../../src/latch/mkfs.js';
import { latch_fs_type } from '../../src/latch/super.js';
import { task_end } from '../../src/locking/context.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { Task } from '../../src/sched/task.js';
import { O_TRUNC, O_WRONLY } from '../../src/uapi/fcntl.js';

const FILES: readonly ControlFile[] = ['one', 'two', 'three'].map((name) => ({ name, show: () => `${name}\n` }));

/** Run `body` on a fresh filesystem with a control directory, in one task, and unmount. */
async function withControl(
  t: Test,
  body: (task: Task, root: Dentry, sb: SuperBlock, machine: ValidatedMachine) => Promise<void>,
  stacks = false,
): Promise<void> {
  const violations: string[] = [];
  const machine = newMachine({
    enforce: 'warn',
    stacks,
    sink: (violation) => violations.push(violation.message),
  });
  const task = new Task(machine.sched, machine.validator);
  const bdev = openSource(machine, 'memory:16M', undefined, false);
  await mkfs(task, bdev);
  const sb = await vfs_mount(machine, latch_fs_type, bdev, 0);
  const shutdown = (): Promise<void> => Promise.resolve();
  const commands = controlFile({
    sb,
    validator: machine.validator,
    refused: (line) => violations.push(line),
    shutdown,
  });
  const whole: ControlFile = {
    name: 'whole',
    show: async (showing) => {
      using _umount = await sb.s_umount.read(showing);
      return '';
    },
    write: () => undefined,
  };
  const remove = attachControl(task, sb, [...FILES, whole, commands], { uid: 0, gid: 0 });
  const { s_root: root } = sb;
  if (root === undefined) throw new Error('no root');
  try {
    await body(task, root, sb, machine);
  } finally {
    await remove(task);
    t.equal(await kill_sb(sb), 0, 'nothing is in use at the unmount');
    task_end(task);
  }
  t.same(violations, []);
}

async function walk(task: Task, root: Dentry): Promise<Dentry> {
  return follow_managed(task, await lookup_one(task, root, CONTROL_NAME));
}

t.test('of many who walk in at once one mounts, and all arrive at the same place', async (t) => {
  await withControl(t, async (_task, root, sb, machine) => {
    const tasks = Array.from({ length: 5 }, () => new Task(machine.sched, machine.validator));
    const arrived = await Promise.all(tasks.map((task) => walk(task, root)));
    t.equal(new Set(arrived).size, 1, 'one mount');
    t.not(arrived[0]?.d_sb, sb, 'on the other side');
    for (const [i, dentry] of arrived.entries()) {
      const task = tasks[i];
      if (task !== undefined) await dput(task, dentry);
    }
  });
});

t.test('a walk in rcu mode may not wait for the mount', async (t) => {
  await withControl(t, async (task, root) => {
    const point = await lookup_one(task, root, CONTROL_NAME);
    const mounting = point.d_op.d_automount?.(task, point);
    const walking = (): unknown => {
      using _rcu = point.d_sb.rcu.read(task);
      return point.d_op.d_manage?.(task, point, true);
    };
    t.throws(walking, /ECHILD/, 'to be walked again by reference');
    const mount = await mounting;
    await mount?.kill();
    t.equal(walking(), undefined, 'and may pass afterwards');
    t.equal(lookup_mnt(point), undefined, 'nobody attached it');
    await dput(task, point);
  });
});

t.test('entries are listed by position, and content is as it was at open', async (t) => {
  await withControl(t, async (task, root) => {
    const top = await walk(task, root);
    const dir = await vfs_open(task, top, 0);
    const list = async (from: number, most: number): Promise<[string, number][]> => {
      const seen: [string, number][] = [];
      await iterate_dir(task, dir, {
        pos: from,
        actor: (name, _ino, _type, next) => {
          if (seen.length >= most) return false;
          seen.push([name, next]);
          return true;
        },
      });
      return seen;
    };
    const all = await list(0, 100);
    t.same(
      all.map(([name]) => name),
      ['.', '..', 'task', 'one', 'two', 'three', 'whole', 'control'],
    );
    for (let cut = 1; cut < all.length; cut++) {
      const first = await list(0, cut);
      const rest = await list(first.at(-1)?.[1] ?? 0, 100);
      t.same([...first, ...rest], all, `cut after ${cut}`);
    }
    t.equal(await vfs_llseek(task, dir, 3, 0), 3);
    t.throws(() => vfs_llseek(task, dir, -1, 0), /EINVAL/);
    const file = await vfs_open(task, await lookup_one(task, top, 'two'), 0);
    const iter = IovIter.ofDest(100);
    t.equal(await vfs_iter_read(task, file, iter, 1), 3);
    t.equal(Buffer.concat(iter.segments).toString(), 'wo\n');
    const { f_dentry } = file;
    await fput(task, file);
    await dput(task, f_dentry);
    await fput(task, dir);
    await dput(task, top);
  });
});

t.test('commands work on the whole filesystem, and break no rule where every lock is followed', async (t) => {
  await withControl(
    t,
    async (task, root, sb) => {
      const top = await walk(task, root);
      const name = await lookup_one(task, top, 'control');
      const file = await vfs_open(task, name, O_WRONLY);
      for (const command of ['sync', 'drop_caches 3', 'freeze', 'thaw']) {
        await vfs_iter_write(task, file, IovIter.ofSource(Buffer.from(command)), 0);
        t.equal(sb.s_writers.frozen !== SB_UNFROZEN, command === 'freeze', command);
      }
      await fput(task, file);
      for (const dentry of [name, top]) await dput(task, dentry);
    },
    true,
  );
});

t.test(
  'what is shown of the whole filesystem may lock it while the file is cut, where a freeze locks it first',
  async (t) => {
    await withControl(
      t,
      async (task, root, sb) => {
        const top = await walk(task, root);
        const [control, whole] = [await lookup_one(task, top, 'control'), await lookup_one(task, top, 'whole')];
        const commands = await vfs_open(task, control, O_WRONLY);
        for (const command of ['freeze', 'thaw']) {
          await vfs_iter_write(task, commands, IovIter.ofSource(Buffer.from(command)), 0);
        }
        const cut = await vfs_open(task, whole, O_WRONLY | O_TRUNC);
        for (const file of [cut, commands]) await fput(task, file);
        for (const dentry of [whole, control, top]) await dput(task, dentry);
        t.equal(sb.s_umount.isHeld, false);
      },
      true,
    );
  },
);
