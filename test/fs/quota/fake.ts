/** A filesystem that is nothing but inodes in memory and two quota files, so that the generic quotas can be seen alone. */
import { Inode, inode_init } from '../../../src/fs/inode.js';
import {
  dquot_acquire,
  dquot_commit,
  dquot_commit_info,
  dquot_mark_dquot_dirty,
  dquot_release,
} from '../../../src/fs/quota/dquot.js';
import { emptyQuotaFile, quotasIn, v2_format_ops } from '../../../src/fs/quota/quota-v2.js';
import { dquot_quotactl_ops } from '../../../src/fs/quota/quotactl.js';
import { dquot_load_quota_sb, dquot_quota_enable } from '../../../src/fs/quota/switch.js';
import {
  GRPQUOTA,
  type MemDqblk,
  PRJQUOTA,
  type QuotaType,
  type quota_format_ops,
  USRQUOTA,
} from '../../../src/fs/quota/types.js';
import { SuperBlock } from '../../../src/fs/super-block.js';
import type { Violation } from '../../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../../src/locking/lockdep.js';
import { MemoryControl } from '../../../src/mm/memory.js';
import { type Cred, ROOT_CRED, Task } from '../../../src/sched/task.js';
import { StillClock } from '../world.js';

export interface FakeOptions {
  /** Usage is written at once, as a filesystem with a journal has it. */
  readonly journaled?: boolean;
  /** Do not enforce limits. */
  readonly countOnly?: boolean;
}

export class FakeFs {
  readonly sched = new StillClock();
  readonly violations: Violation[] = [];
  readonly validator = new Lockdep('warn', (violation) => this.violations.push(violation), { stacks: true });
  readonly sb: SuperBlock;
  readonly files: Record<QuotaType, Buffer> = {
    [USRQUOTA]: emptyQuotaFile(USRQUOTA),
    [GRPQUOTA]: emptyQuotaFile(GRPQUOTA),
    [PRJQUOTA]: emptyQuotaFile(PRJQUOTA),
  };
  /** Operations called, in order. */
  readonly called: string[] = [];
  /** Let writes to the quota files fail. */
  broken = false;
  #ino = 0;

  private constructor(options: FakeOptions) {
    const memory = new MemoryControl(this.sched, { limit: 1 << 20, validator: this.validator });
    this.sb = new SuperBlock({ sched: this.sched, validator: this.validator, memory }, 'fake');
    const { sb, files, called } = this;
    sb.s_op = {
      quota_read: async (_task, _sb, type, length, offset) => {
        called.push('quota_read');
        await this.sched.yield();
        return Buffer.from(files[type].subarray(offset, offset + length));
      },
      quota_write: async (_task, _sb, type, bytes, offset) => {
        called.push('quota_write');
        await this.sched.yield();
        if (this.broken) return 0;
        const end = offset + bytes.length;
        if (end > files[type].length) files[type] = Buffer.concat([files[type]], end);
        bytes.copy(files[type], offset);
        return bytes.length;
      },
    };
    const noting =
      <A extends unknown[], R>(name: string, op: (...args: A) => R) =>
      (...args: A): R => {
        called.push(name);
        return op(...args);
      };
    sb.dq_op = {
      write_dquot: noting('write_dquot', dquot_commit),
      acquire_dquot: noting('acquire_dquot', dquot_acquire),
      release_dquot: noting('release_dquot', dquot_release),
      mark_dirty: noting('mark_dirty', dquot_mark_dquot_dirty),
      write_info: noting('write_info', dquot_commit_info),
      get_reserved_space: (inode) => (inode instanceof FakeInode ? inode.reserved : 0),
      journaled: options.journaled === true,
    };
    sb.s_qcop = dquot_quotactl_ops;
  }

  static async mount(options: FakeOptions = {}): Promise<FakeFs> {
    const fs = new FakeFs(options);
    await fs.run(async (task) => {
      using _umount = await fs.sb.s_umount.write(task);
      for (const type of [USRQUOTA, GRPQUOTA] as const) {
        await dquot_load_quota_sb(task, fs.sb, type, v2_format_ops);
        if (options.countOnly !== true) await dquot_quota_enable(task, fs.sb, type);
      }
    });
    return fs;
  }

  task(cred: Cred = ROOT_CRED): Task {
    return new Task(this.sched, this.validator, { comm: 'test', cred });
  }

  async run<T>(body: (task: Task) => T | Promise<T>, cred?: Cred): Promise<T> {
    return await this.sched.run(() => body(this.task(cred)));
  }

  inode(uid: number, gid: number): FakeInode {
    const inode = new FakeInode(this.sb);
    inode.i_ino = ++this.#ino;
    const attrs = inode_init(inode);
    attrs.i_uid = uid;
    attrs.i_gid = gid;
    this.sb.inodeHash.set(inode.i_ino, inode);
    return inode;
  }

  /** Keep quotas as v2_format_ops do, but for these operations. */
  useFormat(operations: Partial<quota_format_ops>): void {
    const { loaded } = this.sb.s_dquot;
    for (const [type, quota] of loaded.entries()) {
      if (quota !== undefined) loaded[type] = { ...quota, format: { ...v2_format_ops, ...operations } };
    }
  }

  /** What a quota file says. */
  quotas(type: QuotaType = USRQUOTA): Promise<Map<number, MemDqblk>> {
    return quotasIn(this.task(), type, this.files[type]);
  }

  messages(): string[] {
    return this.violations.map(({ message }) => message);
  }
}

export class FakeInode extends Inode {
  reserved = 0;

  /** What a filesystem counts when it takes or gives back bytes. */
  readonly counting = (bytes: number) => (): void => {
    this.i_blocks += bytes / 512;
  };

  readonly promising = (bytes: number) => (): void => {
    this.reserved += bytes;
    this.i_blocks += bytes / 512;
  };
}
