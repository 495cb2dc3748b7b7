/**
 * The control filesystem: one directory of control files, all of it in the dcache.
 *
 * control/ is the directory .latchfs; it may import ramfs/ and below.
 */

import { d_make_root } from '../fs/dcache-alias.js';
import { Inode, inode_init } from '../fs/inode.js';
import {
  kill_litter_super,
  OffsetCtx,
  simple_add,
  simple_lookup,
  simple_offset_dir_operations,
  simple_super_operations,
} from '../fs/libfs.js';
import type { FileSystemType } from '../fs/super.js';
import type { SuperBlock } from '../fs/super-block.js';
import { current_time } from '../fs/time.js';
import type { Task } from '../sched/task.js';
import { S_IFDIR, S_IFREG } from '../uapi/stat.js';
import {
  type ControlFile,
  type ControlOwner,
  control_file_inode_operations,
  controlFileOperations,
  InFlight,
} from './file.js';
import { TASK_DIR, TASK_DIR_INO, TaskTree } from './task-dir.js';

/** "lctl" */
export const CONTROL_MAGIC = 0x6c63746c;
const ROOT_INO = 1;

function newInode(sb: SuperBlock, ino: number, mode: number, owner: ControlOwner): Inode {
  const inode = new Inode(sb);
  inode.i_ino = ino;
  const attrs = inode_init(inode);
  attrs.i_mode = mode;
  attrs.i_uid = owner.uid;
  attrs.i_gid = owner.gid;
  inode.i_atime = inode.i_mtime = inode.i_ctime = inode.i_btime = current_time(inode);
  sb.inodeHash.set(ino, inode);
  return inode;
}

/** The filesystem type of a control directory with these files. */
export function controlFsType(files: readonly ControlFile[], owner: ControlOwner): FileSystemType<undefined> {
  return {
    name: 'latchctl',
    kill_sb: kill_litter_super,
    fill_super: async (task: Task, sb: SuperBlock) => {
      sb.s_magic = CONTROL_MAGIC;
      sb.s_maxbytes = Number.MAX_SAFE_INTEGER;
      const inFlight = new InFlight();
      sb.s_op = { ...simple_super_operations, umount_begin: (ending) => inFlight.abort(ending) };
      const tasks = new TaskTree(sb.machine.validator, owner, inFlight);
      sb.s_d_op = tasks.dentry_operations;
      sb.s_export_op = tasks.export_operations;
      sb.generated = true;
      const offsets = new OffsetCtx();
      const root = newInode(sb, ROOT_INO, S_IFDIR | 0o700, owner);
      inode_init(root).i_nlink = 3;
      root.i_op = { lookup: simple_lookup, get_offset_ctx: () => offsets };
      root.i_fop = simple_offset_dir_operations;
      const top = d_make_root(task, root);
      sb.s_root = top;
      simple_add(
        task,
        top,
        offsets,
        TASK_DIR,
        await tasks.export_operations.get_inode(task, sb, TASK_DIR_INO, undefined),
      );
      for (const [index, file] of files.entries()) {
        const mode = S_IFREG | (file.write === undefined ? 0o400 : 0o600);
        const inode = newInode(sb, ROOT_INO + 1 + index, mode, owner);
        inode.i_op = control_file_inode_operations;
        inode.i_fop = controlFileOperations(file, owner, inFlight);
        simple_add(task, top, offsets, file.name, inode);
      }
    },
  };
}
