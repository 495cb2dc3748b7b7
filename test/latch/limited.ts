/** A filesystem in which a user, a group and a project are held to limits, and what is counted for them, held against what their files have. */

import { GRPQUOTA, PRJQUOTA, type QuotaType, USRQUOTA } from '../../src/fs/quota/types.js';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import type { Cred } from '../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { FS_IOC_FSSETXATTR } from '../../src/uapi/ioctl.js';
import { Q_GETQUOTA, Q_QUOTAON, Q_SETQUOTA } from '../../src/uapi/quota.js';
import { S_IFDIR, S_IFMT } from '../../src/uapi/stat.js';
import { outcome } from '../fs/world.js';
import { settle } from './journal/crash-device.js';
import { look, type Op, treeOf } from './sequences.js';
import { freshImage, problemsOf, World } from './world.js';

export const BLOCK = 4096;
const SIZE = 4 << 20;
/** FS_XFLAG_PROJINHERIT. */
export const INHERIT = 0x200;
/** Ids that files have, or get, by type of quota. */
const IDS: readonly (readonly number[])[] = [
  [1000, 5],
  [2000, 6],
  [42, 43],
];
export const TYPES: readonly QuotaType[] = [USRQUOTA, GRPQUOTA, PRJQUOTA];
/** May do everything but exceed limits. */
const LIMITED: Cred = { uid: 1000, gid: 2000, groups: () => [], capable: (cap) => cap !== 'CAP_SYS_RESOURCE' };

/** These are all or nothing. */
const WHOLE =
  /^(create|mkdir|link|symlink|rename|exchange|setxattr|chown|chmod|removexattr|project|whiteout|tmpfile|acl)/;
const TAKES_AWAY = /^(unlink|rmdir|truncate \/old 0|removexattr|chmod|fallocate 3|fallocate 8|rename|exchange)/;

/** FS_IOC_FSSETXATTR. */
export async function project(sys: Syscalls, path: string, projid: number, xflags: number): Promise<void> {
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

let base: Promise<Buffer> | undefined;

/** Directories and a file of a user and a project, that have been there for long. */
export function limitedImage(): Promise<Buffer> {
  base ??= (async () => {
    let n = 0;
    const world = await World.mount(
      await freshImage(SIZE, { random: (length) => Buffer.alloc(length, ++n), quota: true }),
    );
    const processes = [new Process(world.sb), new Process(world.sb, { cred: LIMITED })] as const;
    const root = syscalls(processes[0]);
    await root.chown('/', 1000, 2000);
    await project(root, '/', 42, INHERIT);
    const sys = syscalls(processes[1]);
    await sys.mkdir('/A', 0o755);
    await sys.mkdir('/B', 0o755);
    const fd = await sys.open('/old', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(12_288, 'o'));
    await sys.close(fd);
    await sys.setxattr('/old', 'user.o', Buffer.alloc(30, 'o'));
    for (const process of processes) await process.exit();
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
export class Limited {
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
