/** Whatever the limits of quotas refuse, after any number of blocks or inodes, leaves things as they were; what takes things away is never refused; nothing is counted twice or forgotten. */

import t from 'tap';
import { GRPQUOTA, PRJQUOTA, type QuotaType, USRQUOTA } from '../../src/fs/quota/types.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import type { Cred } from '../../src/sched/task.js';
import { AT_FDCWD, O_CREAT, O_RDWR, O_TMPFILE } from '../../src/uapi/fcntl.js';
import { RENAME_WHITEOUT } from '../../src/uapi/fs.js';
import { FS_IOC_FSSETXATTR } from '../../src/uapi/ioctl.js';
import { Q_GETQUOTA, Q_QUOTAON, Q_SETQUOTA } from '../../src/uapi/quota.js';
import { S_IFDIR, S_IFMT } from '../../src/uapi/stat.js';
import { outcome } from '../fs/world.js';
import { settle } from './journal/crash-device.js';
import { changes, look, type Op, syncs, treeOf } from './sequences.js';
import { freshImage, numbers, problemsOf, World } from './world.js';

/** NO_QUOTA=4 tries each call under limits of each type, with up to 4 blocks left; NO_QUOTA_ROUNDS=N plays N sequences, NO_QUOTA_SEED=SEED others. */
const MOST = Number(process.env['NO_QUOTA'] ?? 0);
const ROUNDS = Number(process.env['NO_QUOTA_ROUNDS'] ?? 4);
const FROM = Number(process.env['NO_QUOTA_SEED'] ?? 1);
const BLOCK = 4096;
const SIZE = 4 << 20;
const INHERIT = 0x200;
/** Ids that files have, or get, by type of quota. */
const IDS: readonly (readonly number[])[] = [
  [1000, 5],
  [2000, 6],
  [42, 43],
];
const TYPES: readonly QuotaType[] = [USRQUOTA, GRPQUOTA, PRJQUOTA];
/** May do everything but exceed limits. */
const LIMITED: Cred = { uid: 1000, gid: 2000, groups: () => [], capable: (cap) => cap !== 'CAP_SYS_RESOURCE' };

/** These are all or nothing. */
const WHOLE =
  /^(create|mkdir|link|symlink|rename|exchange|setxattr|chown|chmod|removexattr|project|whiteout|tmpfile|acl)/;
const TAKES_AWAY = /^(unlink|rmdir|truncate \/old 0|removexattr|chmod|fallocate 3|fallocate 8|rename|exchange)/;

async function project(sys: Syscalls, path: string, projid: number, xflags: number): Promise<void> {
  const fd = await sys.open(path, 0);
  const fsx = Buffer.alloc(28);
  fsx.writeUInt32LE(xflags, 0);
  fsx.writeUInt32LE(projid, 12);
  try {
    await sys.ioctl(fd, FS_IOC_FSSETXATTR, fsx);
  } finally {
    await sys.close(fd);
  }
}

const more: readonly Op[] = [
  { name: 'project /old', run: (sys) => project(sys, '/old', 43, 0) },
  { name: 'project /A', run: (sys) => project(sys, '/A', 43, INHERIT) },
  { name: 'chown /old', run: (sys) => sys.chown('/old', 5, 6) },
  {
    name: 'whiteout /old',
    run: (sys) => sys.renameat2(AT_FDCWD, '/old', AT_FDCWD, '/A/gone', RENAME_WHITEOUT),
  },
  {
    name: 'tmpfile',
    run: async (sys, _world, fill) => {
      const fd = await sys.open('/A', O_TMPFILE | O_RDWR, 0o600);
      try {
        await sys.pwrite(fd, Buffer.alloc(9000, fill), 4000);
      } finally {
        await sys.close(fd);
      }
    },
  },
  {
    name: 'long names',
    run: async (sys) => {
      for (let i = 0; i < 40; i++) await sys.link('/old', `/A/${i}${'n'.repeat(200)}`);
    },
  },
  {
    name: 'scattered writes to /scattered',
    run: async (sys, _world, fill) => {
      const fd = await sys.open('/scattered', O_CREAT | O_RDWR, 0o644);
      try {
        for (let i = 0; i < 90; i++) await sys.pwrite(fd, Buffer.alloc(10, fill), i * 2 * BLOCK);
        await sys.fsync(fd);
      } finally {
        await sys.close(fd);
      }
    },
  },
];
const OPS = [...changes, ...more];

let base: Promise<Buffer> | undefined;

/** Directories and a file of a user and a project, that have been there for long. */
function baseImage(): Promise<Buffer> {
  base ??= (async () => {
    let n = 0;
    const world = await World.mount(
      await freshImage(SIZE, { random: (length) => Buffer.alloc(length, ++n), quota: true }),
    );
    const root = syscalls(new Process(world.sb));
    await root.chown('/', 1000, 2000);
    await project(root, '/', 42, INHERIT);
    const sys = syscalls(new Process(world.sb, { cred: LIMITED }));
    await sys.mkdir('/A', 0o755);
    await sys.mkdir('/B', 0o755);
    const fd = await sys.open('/old', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(12_288, 'o'));
    await sys.close(fd);
    await sys.setxattr('/old', 'user.o', Buffer.alloc(30, 'o'));
    await world.unmount();
    return world.driver.now;
  })();
  return base;
}

interface Count {
  bytes: number;
  inodes: number;
}

/** What is counted for each id, by type. */
async function counted(root: Syscalls, world: World): Promise<Count[][]> {
  const all: Count[][] = [];
  for (const type of TYPES) {
    const own: Count[] = [];
    for (const id of IDS[type] ?? []) {
      const { dqb_curspace = 0, dqb_curinodes = 0 } = await root.quotactl(Q_GETQUOTA, type, world.sb, id);
      own.push({ bytes: dqb_curspace, inodes: dqb_curinodes });
    }
    all.push(own);
  }
  return all;
}

/** What the files have. */
async function walked(root: Syscalls, world: World): Promise<Count[][]> {
  const all = IDS.map((ids) => ids.map((): Count => ({ bytes: 0, inodes: 0 })));
  const seen = new Set<number>();
  const walk = async (path: string): Promise<void> => {
    const { ino, uid, gid, mode, blocks } = await root.lstat(path);
    if (!seen.has(ino)) {
      seen.add(ino);
      const projid = await world.at(path, ({ d_inode }) => d_inode?.i_projid ?? -1);
      for (const [type, id] of [uid, gid, projid].entries()) {
        const own = all[type]?.[IDS[type]?.indexOf(id) ?? -1];
        if (own === undefined) throw new Error(`${path} is of ${id}`);
        own.bytes += blocks * 512;
        own.inodes++;
      }
    }
    if ((mode & S_IFMT) !== S_IFDIR) return;
    const fd = await root.open(path, 0);
    const entries = await root.getdents(fd);
    await root.close(fd);
    for (const { name } of entries)
      if (name !== '.' && name !== '..') await walk(`${path === '/' ? '' : path}/${name}`);
  };
  await walk('/');
  return all;
}

const text = (counts: Count[][]): string =>
  counts
    .map((own, type) => own.map(({ bytes, inodes }, i) => `${IDS[type]?.[i]}: ${bytes} ${inodes}`).join(', '))
    .join('; ');

/** A mount under limits, with what is wrong with it so far. */
class Limited {
  readonly wrong: string[] = [];
  readonly world: World;
  readonly root: Syscalls;
  readonly sys: Syscalls;
  readonly #processes: readonly Process[];

  private constructor(world: World) {
    const processes = [new Process(world.sb), new Process(world.sb, { cred: LIMITED })] as const;
    this.world = world;
    this.root = syscalls(processes[0]);
    this.sys = syscalls(processes[1]);
    this.#processes = processes;
  }

  static async mount(image: Buffer): Promise<Limited> {
    const m = new Limited(await World.mount(image));
    for (const type of TYPES) await m.root.quotactl(Q_QUOTAON, type, m.world.sb);
    return m;
  }

  /** Allow all ids of a type what they have, and so much more. */
  async limit(type: QuotaType, blocks: number, inodes: number): Promise<void> {
    const now = (await counted(this.root, this.world))[type] ?? [];
    for (const [i, { bytes, inodes: has }] of now.entries()) {
      const id = IDS[type]?.[i] ?? 0;
      // A limit of 0 is none: one byte is less than any block.
      await this.root.quotactl(Q_SETQUOTA, type, this.world.sb, id, {
        dqb_bhardlimit: Math.max(1, (bytes + blocks * BLOCK) / 1024),
        dqb_ihardlimit: has + inodes === 0 ? 1 : has + inodes,
      });
    }
  }

  async free(): Promise<void> {
    for (const type of TYPES)
      for (const id of IDS[type] ?? [])
        await this.root.quotactl(Q_SETQUOTA, type, this.world.sb, id, { dqb_bhardlimit: 0, dqb_ihardlimit: 0 });
  }

  /** Run a call, and look at what has come of it. */
  async play(each: Op, fill: number): Promise<string> {
    const { root, sys, world, wrong } = this;
    const whole = WHOLE.test(each.name);
    const away = TAKES_AWAY.test(each.name) && (await outcome(() => sys.stat('/old'))) === 'ok';
    const before = whole ? await look(root) : undefined;
    const had = text(await counted(root, world));
    const why = await outcome(() => each.run(sys, world, fill));
    if (!/^(ok|EDQUOT|ENOENT|ENOTEMPTY|EEXIST|ENODATA|EINVAL|ENXIO|EXDEV|EISDIR|EPERM)$|SIGBUS/.test(why))
      wrong.push(`it fails with ${why}`);
    if (why === 'EDQUOT' && away) wrong.push('it takes things away, and is refused');
    if (why === 'EDQUOT' && before !== undefined) {
      const now = await look(root);
      if (treeOf(now) !== treeOf(before)) wrong.push(`there was\n${treeOf(before)}\nand there is\n${treeOf(now)}`);
      const has = text(await counted(root, world));
      if (had !== has) wrong.push(`it was refused; counted was ${had}, and now ${has}`);
    }
    await this.compare('at once');
    return why;
  }

  async compare(when: string): Promise<void> {
    const [has, is] = [text(await counted(this.root, this.world)), text(await walked(this.root, this.world))];
    if (has !== is) this.wrong.push(`${when} ${has} is counted, and ${is} is there`);
  }

  async end(): Promise<readonly string[]> {
    const { world, wrong } = this;
    await this.sys.sync();
    await settle();
    await this.compare('after a sync');
    for (const process of this.#processes) await process.exit();
    const busy = await world.unmount();
    if (busy > 0) wrong.push(`${busy} inodes are in use after the unmount`);
    const { total } = world.sb.machine.validator;
    if (total > 0) wrong.push(`${total} rules were broken`);
    wrong.push(...(await problemsOf(world.driver.now)), ...world.said);
    return wrong;
  }
}

/** @returns what the call came to, and what is wrong */
async function refused(
  image: Buffer,
  each: Op,
  type: QuotaType,
  blocks: number,
  inodes: number,
): Promise<{ why: string; wrong: string[] }> {
  const m = await Limited.mount(image);
  const ready = ['create /foo', 'mkdir /A/C', 'create /A/foo'].filter((name) => name !== each.name);
  for (const one of changes) if (ready.includes(one.name)) await one.run(m.sys, m.world, 1);
  if (/mkdir|rename \/A \/B/.test(each.name)) await outcome(() => m.sys.rmdir('/A/C'));
  for (let i = 0; i < 3; i++)
    await m.sys.mkdir(`/A/${i}${'n'.repeat(200)}`, 0o755).then(() => m.sys.rmdir(`/A/${i}${'n'.repeat(200)}`));
  await m.sys.sync();
  await m.limit(type, blocks, inodes);
  const why = await m.play(each, 100);
  await m.sys.sync();
  await settle();
  await m.compare('after writeback');
  await m.free();
  if (why === 'EDQUOT' && (await m.play(each, 101)) === 'EDQUOT')
    m.wrong.push('there are no limits, and it is refused');
  const wrong = await m.end();
  return {
    why,
    wrong: wrong.map((what) => `${each.name}, ${blocks} blocks and ${inodes} inodes of type ${type}, ${why}: ${what}`),
  };
}

t.test('a call that limits refuse changes nothing', async (t) => {
  const image = await baseImage();
  const seen = new Set<string>();
  const limits = [...Array.from({ length: MOST + 1 }, (_, i) => [i, 99] as const), [99, 0] as const];
  for (const [i, each] of OPS.entries()) {
    for (const type of TYPES) {
      if (MOST === 0 && type !== i % 3) continue;
      for (const [blocks, inodes] of limits) {
        const { why, wrong } = await refused(image, each, type, blocks, inodes);
        for (const what of wrong) t.fail(what);
        if (why === 'EDQUOT') seen.add(each.name);
      }
    }
  }
  t.comment([...seen].join(', '));
  t.ok(seen.size > 20, `${seen.size} calls were refused`);
});

t.test('sequences of calls under limits that change', async (t) => {
  const image = await baseImage();
  let count = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const choose = numbers(FROM + round);
    const m = await Limited.mount(image);
    const played: string[] = [];
    for (let i = 0; i < 25; i++) {
      if (choose(3) === 0) {
        const type = TYPES[choose(3)] ?? USRQUOTA;
        if (choose(5) === 0) await m.free();
        else await m.limit(type, choose(6), choose(4));
      }
      const each = choose(5) === 0 ? syncs[choose(syncs.length)] : OPS[choose(OPS.length)];
      if (each === undefined) continue;
      const why = await m.play(each, 1 + i);
      played.push(`${each.name}: ${why}`);
      if (why === 'EDQUOT') count++;
      if (m.wrong.length > 0) break;
    }
    await m.free();
    for (const what of await m.end()) t.fail(`seed ${FROM + round}: ${what}\n${played.join('\n')}`);
  }
  t.ok(count > ROUNDS, `${count} calls were refused`);
});
