/** Directories: OPENDIR, READDIR, READDIRPLUS, FSYNCDIR. */

import { dput } from '../../fs/dcache.js';
import type { Dentry } from '../../fs/dentry.js';
import type { File } from '../../fs/file.js';
import { lookup_one } from '../../fs/namei.js';
import { vfs_open } from '../../fs/open.js';
import { iterate_dir } from '../../fs/readdir.js';
import type { DirContext, Kstat } from '../../fs/types.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno, isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { DirentPacker } from '../protocol/dirents.js';
import { FOPEN } from '../protocol/flags.js';
import type { Message } from '../protocol/message.js';
import { decodeOpen, decodeRead } from '../protocol/read-files.js';
import type { ReadIn, RequestHeader } from '../protocol/requests.js';
import { encodeOpen } from '../protocol/write.js';
import type { Session } from '../session.js';
import { withDentry } from './names.js';
import { entryOf, statOf, withReader } from './reply.js';

/** OPENDIR. Where the kernel may cache, it need not be told: it lists by node, and lists what it knows again by itself. @throws ENOSYS to say so */
export function opendir(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { flags } = decodeOpen(m);
  if (s.negotiated?.mayRefuseOpendir === true) throw errno('ENOSYS');
  return withDentry(s, task, h.nodeid, (dentry) =>
    andThen(vfs_open(task, dentry, flags, false), (file) => {
      const open = s.options.cache === 'none' || s.strictAtime ? 0 : FOPEN.KEEP_CACHE | FOPEN.CACHE_DIR;
      s.transport.reply(h.unique, encodeOpen(s.transport.out, s.handles.add(file), open));
    }),
  );
}

/** One entry of a listing, as it was emitted. */
interface Listed {
  readonly name: string;
  readonly ino: number;
  readonly type: number;
  readonly next: number;
}

/** struct fuse_dirent before its name, and the alignment of entries. */
const DIRENT = 24;
const ENTRY = 128;

function entrySize(name: string, plus: boolean): number {
  return ((plus ? ENTRY : 0) + DIRENT + name.length + 7) & ~7;
}

/** List from `offset` on as much as fits in `size` bytes; the entries are packed once all of them are known. */
async function list(s: Session, task: Task, file: File, { offset, size }: ReadIn, plus: boolean): Promise<Listed[]> {
  const listed: Listed[] = [];
  let room = Math.min(size, s.transport.out.room);
  const context: DirContext = {
    pos: offset,
    actor: (name, ino, type, next) => {
      const need = entrySize(name, plus);
      if (need > room) return false;
      room -= need;
      listed.push({ name, ino, type, next });
      return true;
    },
  };
  await iterate_dir(task, file, context);
  return listed;
}

/** READDIR (iterate_dir). */
export async function readdir(s: Session, task: Task, h: RequestHeader, m: Message): Promise<void> {
  const request = decodeRead(m);
  const { size } = request;
  const listed = await withReader(s, task, h, request, (file) => list(s, task, file, request, false));
  const packer = new DirentPacker(s.transport.out);
  packer.begin(size);
  for (const { name, ino, type, next } of listed) packer.add(ino, next, type, name);
  s.transport.reply(h.unique, packer.size);
}

/** READDIRPLUS: each name is also looked up, and the kernel is told of what it names. */
export async function readdirplus(s: Session, task: Task, h: RequestHeader, m: Message): Promise<void> {
  const request = decodeRead(m);
  await withReader(s, task, h, request, (file) => listPlus(s, task, h, file, request));
}

async function listPlus(s: Session, task: Task, h: RequestHeader, file: File, request: ReadIn): Promise<void> {
  const { size } = request;
  const parent = file.f_dentry;
  const listed = await list(s, task, file, request, true);
  const stats: (Kstat | undefined)[] = [];
  const dentries: (Dentry | undefined)[] = [];
  try {
    for (const { name } of listed) {
      const dentry = name === '.' || name === '..' ? undefined : await child(task, parent, name);
      dentries.push(dentry);
      stats.push(dentry === undefined ? undefined : await statOf(task, dentry));
    }
    const packer = new DirentPacker(s.transport.out);
    packer.begin(size);
    listed.forEach(({ name, ino, type, next }, i) => {
      const dentry = dentries[i];
      const stat = stats[i];
      // The kernel is counted as told only now that nothing can fail before it is.
      const entry = dentry?.d_inode === undefined || stat === undefined ? null : entryOf(s, dentry, stat);
      packer.addPlus(entry, ino, next, type, name);
    });
    s.transport.reply(h.unique, packer.size);
  } finally {
    for (const dentry of dentries) if (dentry !== undefined) await dput(task, dentry);
  }
}

/** A listed name's dentry; undefined where it has gone since, or may not be looked up: then only its name is listed. */
async function child(task: Task, parent: Dentry, name: string): Promise<Dentry | undefined> {
  try {
    const dentry = await lookup_one(task, parent, name);
    if (!dentry.isNegative) return dentry;
    await dput(task, dentry);
  } catch (error) {
    if (!isErrno(error, 'EACCES') && !isErrno(error, 'ENOENT')) throw error;
  }
  return undefined;
}
