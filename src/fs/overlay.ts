/**
 * An overlay of directories, to be read only (fs/overlayfs without an upper layer): a name is that of the topmost layer that has it, directories are merged
 * down to one that is opaque, a whiteout hides what is below. An open file is one of the layer that knows by which name of the overlay it was opened: its own
 * dentry is asked for by d_real.
 */
import type { Awaitable } from '../sched/awaitable.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep } from '../sched/wait.js';
import { dget, dput } from './dcache.js';
import { d_add, d_make_root } from './dcache-alias.js';
import type { Dentry } from './dentry.js';
import { File, FMODE_PATH } from './file.js';
import { do_dentry_open, fput } from './file-table.js';
import { generic_delete_inode } from './icache.js';
import { Inode } from './inode.js';
import { vfs_ioctl } from './ioctl.js';
import { lookup_one, vfs_get_link } from './namei.js';
import { vfs_open } from './open.js';
import type { file_operations, inode_operations, super_operations } from './operations.js';
import { isDir } from './permission.js';
import { vfs_iter_read, vfs_llseek } from './read-write.js';
import { iterate_dir } from './readdir.js';
import { generic_file_llseek } from './seek.js';
import { vfs_getattr } from './stat.js';
import { type FileSystemType, vfs_statfs } from './super.js';
import type { SuperBlock } from './super-block.js';
import { vfs_getxattr, vfs_listxattr } from './xattr.js';

/** OVERLAYFS_SUPER_MAGIC. */
const MAGIC = 0x794c7630;
const OPAQUE = 'trusted.overlay.opaque';
const PRIVATE = 'trusted.overlay.';
const S_IFMT = 0o170000;
const S_IFCHR = 0o020000;
const S_IFLNK = 0o120000;
const DT_DIR = 4;
const DT_CHR = 2;

/** One name of the overlay: what it stands for in the layers, topmost first. Only directories have more than one. */
class OvlInode extends Inode {
  readonly layers: readonly Dentry[];

  /** @param layers with references, which the inode keeps until it goes */
  constructor(sb: SuperBlock, ino: number, layers: readonly Dentry[]) {
    super(sb);
    this.layers = layers;
    const from = this.real;
    this.i_ino = ino;
    this.i_mode = from.i_mode;
    this.i_uid = from.i_uid;
    this.i_gid = from.i_gid;
    this.i_nlink = isDir(from) ? 1 : from.i_nlink;
    this.i_rdev = from.i_rdev;
    this.i_size = from.i_size;
    [this.i_atime, this.i_mtime, this.i_ctime, this.i_btime] = [from.i_atime, from.i_mtime, from.i_ctime, from.i_btime];
    this.i_rwsem.key = isDir(from) ? sb.i_mutex_dir_key : sb.i_mutex_key;
    this.i_op = isDir(from) ? dir_inode_operations : (from.i_mode & S_IFMT) === S_IFLNK ? link_operations : inode_ops;
    this.i_fop = isDir(from) ? dir_operations : file_ops;
    sb.inodeHash.set(ino, this);
  }

  /** The inode of the topmost layer (ovl_inode_real). */
  get real(): Inode {
    const inode = this.layers[0]?.d_inode;
    if (inode === undefined) throw errno('ESTALE');
    return inode;
  }
}

function ovl(inode: Inode | undefined): OvlInode {
  if (inode instanceof OvlInode) return inode;
  throw errno('EIO', 'an inode of another filesystem');
}

/** The dentry of the topmost layer. */
function realDentry(dentry: Dentry): Dentry {
  const [top] = ovl(dentry.d_inode).layers;
  if (top === undefined) throw errno('ESTALE');
  return top;
}

function isWhiteout({ d_inode: inode }: Dentry): boolean {
  return inode !== undefined && (inode.i_mode & S_IFMT) === S_IFCHR && inode.i_rdev === 0;
}

async function isOpaque(task: Task, dentry: Dentry): Promise<boolean> {
  try {
    return (await vfs_getxattr(task, dentry, OPAQUE)).toString('latin1') === 'y';
  } catch (error) {
    if (isErrno(error, 'ENODATA') || isErrno(error, 'EOPNOTSUPP')) return false;
    throw error;
  }
}

let lastIno = 1;

/** What a name stands for in the layers of a directory, with references (ovl_lookup). Empty where there is none. */
async function lookupLayers(task: Task, layers: readonly Dentry[], name: string): Promise<Dentry[]> {
  const found: Dentry[] = [];
  for (const layer of layers) {
    const dentry = await lookup_one(task, layer, name);
    const { d_inode: inode } = dentry;
    // Below a directory only directories count.
    const counts = inode !== undefined && !isWhiteout(dentry) && (found.length === 0 || isDir(inode));
    if (counts) found.push(dentry);
    else await dput(task, dentry);
    if (inode === undefined) continue;
    if (!counts || !isDir(inode) || (await isOpaque(task, dentry))) break;
  }
  return found;
}

async function lookup(task: Task, dir: Inode, dentry: Dentry): Promise<undefined> {
  const layers = await lookupLayers(task, ovl(dir).layers, dentry.d_name);
  d_add(task, dentry, layers.length === 0 ? undefined : new OvlInode(dir.i_sb, ++lastIno, layers));
}

interface Listed {
  readonly name: string;
  readonly ino: number;
  readonly type: number;
}

/** What a directory has, all layers together. */
class Listing {
  readonly entries: readonly Listed[];

  constructor(entries: readonly Listed[]) {
    this.entries = entries;
  }
}

/** The entries of all layers, each name once, without what whiteouts hide (ovl_dir_read_merged). */
async function readMerged(task: Task, layers: readonly Dentry[]): Promise<Listing> {
  const seen = new Map<string, Listed | undefined>();
  for (const layer of layers) {
    const here: Listed[] = [];
    const file = await vfs_open(task, layer, 0);
    try {
      await iterate_dir(task, file, { pos: 0, actor: (name, ino, type) => here.push({ name, ino, type }) > 0 });
    } finally {
      await fput(task, file);
    }
    for (const entry of here) {
      if (entry.name === '.' || entry.name === '..' || seen.has(entry.name)) continue;
      const hidden = entry.type === DT_CHR && (await hides(task, layer, entry.name));
      seen.set(entry.name, hidden ? undefined : entry);
    }
  }
  return new Listing([...seen.values()].filter((entry) => entry !== undefined));
}

async function hides(task: Task, layer: Dentry, name: string): Promise<boolean> {
  const dentry = await lookup_one(task, layer, name);
  const whiteout = isWhiteout(dentry);
  await dput(task, dentry);
  return whiteout;
}

const common: inode_operations = {
  getattr: async (task, dentry, mask, flags) => {
    const inode = ovl(dentry.d_inode);
    const stat = await vfs_getattr(task, realDentry(dentry), mask, flags);
    return { ...stat, ino: inode.i_ino, nlink: inode.i_nlink };
  },
  listxattr: async (task, dentry) =>
    (await vfs_listxattr(task, realDentry(dentry))).filter((name) => !name.startsWith(PRIVATE)),
};

const inode_ops: inode_operations = common;
const dir_inode_operations: inode_operations = { ...common, lookup };
const link_operations: inode_operations = {
  ...common,
  get_link: (task, dentry, inode) => {
    if (dentry === undefined) throw errno('EINVAL');
    return vfs_get_link(task, realDentry(dentry), ovl(inode).real);
  },
};

/** What was opened in the layer for an open file of the overlay. */
function realFile({ private_data: real }: File): File {
  if (real instanceof File) return real;
  throw errno('EBADF');
}

const file_ops: file_operations = {
  // The file of the layer keeps the overlay's dentry: that is the name by which it was opened (open_with_fake_path).
  open: async (task, inode, file) => {
    file.private_data = await do_dentry_open(task, file.f_dentry, ovl(inode).real, file.f_flags, 0);
  },
  release: (task, _inode, file) => fput(task, realFile(file)),
  llseek: async (task, file, offset, whence) => {
    const real = realFile(file);
    real.f_pos = file.f_pos;
    file.f_pos = await vfs_llseek(task, real, offset, whence);
    return file.f_pos;
  },
  read_iter: async (task, iocb, iter) => {
    const count = await vfs_iter_read(task, realFile(iocb.ki_filp as File), iter, iocb.ki_pos, { direct: iocb.direct });
    iocb.ki_pos += count;
    return count;
  },
  // Of the flags of a file the layer knows, which has no other way to its dentry.
  unlocked_ioctl: (task, file, cmd, arg) => vfs_ioctl(task, realFile(file), cmd, arg),
};

const dir_operations: file_operations = {
  // All at once and here, where nothing is locked yet.
  open: async (task, inode, file) => {
    if ((file.f_mode & FMODE_PATH) === 0) file.private_data = await readMerged(task, ovl(inode).layers);
  },
  llseek: (_task, file, offset, whence) => generic_file_llseek(file, offset, whence),
  iterate_shared: (_task, { f_inode: dir, f_dentry: { d_parent }, private_data: listing }, ctx) => {
    if (!(listing instanceof Listing)) throw errno('EBADF');
    const dots = [
      { name: '.', ino: dir.i_ino, type: DT_DIR },
      { name: '..', ino: d_parent.d_inode?.i_ino ?? dir.i_ino, type: DT_DIR },
    ];
    for (const { name, ino, type } of [...dots, ...listing.entries].slice(ctx.pos)) {
      if (!ctx.actor(name, ino, type, ctx.pos + 1)) return;
      ctx.pos++;
    }
  },
};

const ovl_super_operations: super_operations = {
  statfs: (task, dentry) => vfs_statfs(task, realDentry(dentry)),
  drop_inode: generic_delete_inode,
  evict_inode: async (task, inode) => {
    for (const layer of ovl(inode).layers) await dput(task, layer);
  },
};

/** @param inode undefined for whatever is topmost; else the one whose dentry is wanted (ovl_d_real) */
function ovl_d_real(task: Task, dentry: Dentry, inode: Inode | undefined): Dentry {
  // Where data lie in a layer of their own they would be looked up here (ovl_verify_lowerdata).
  might_sleep(task, 'the dentry of a layer');
  if (dentry.d_inode === inode || dentry.d_inode === undefined) return dentry;
  const found = ovl(dentry.d_inode).layers.find((layer) => inode === undefined || layer.d_inode === inode);
  if (found === undefined) throw errno('EIO', 'a file of no layer');
  return found;
}

/** The filesystem type of an overlay of these directories, topmost first; it takes references of its own. */
export function overlayFsType(lower: readonly Dentry[]): FileSystemType<undefined> {
  return {
    name: 'overlay',
    fill_super: (task: Task, sb: SuperBlock): Awaitable<void> => {
      sb.s_magic = MAGIC;
      sb.s_maxbytes = Number.MAX_SAFE_INTEGER;
      sb.s_op = ovl_super_operations;
      sb.s_d_op = { d_real: ovl_d_real };
      sb.s_xattr = [
        {
          prefix: '',
          list: () => true,
          get: (own, dentry, _inode, name) => {
            if (name.startsWith(PRIVATE)) throw errno('ENODATA');
            return vfs_getxattr(own, realDentry(dentry), name);
          },
        },
      ];
      const root = new OvlInode(
        sb,
        ++lastIno,
        lower.map((dentry) => dget(dentry)),
      );
      sb.s_root = d_make_root(task, root);
    },
  };
}
