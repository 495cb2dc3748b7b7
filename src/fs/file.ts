/** struct file: an open file. */
import { Mutex } from '../locking/mutex.js';
import type { AddressSpace, MmFile } from '../mm/address-space.js';
import { type FileRaState, newRaState } from '../mm/readahead-state.js';
import type { ErrseqCursor } from '../sched/errseq.js';
import type { Cred } from '../sched/task.js';
import type { Dentry } from './dentry.js';
import type { Inode } from './inode.js';
import type { file_operations } from './operations.js';

/** f_mode bits. */
export const FMODE_READ = 1;
export const FMODE_WRITE = 2;
export const FMODE_LSEEK = 4;
/** Only names something (O_PATH). */
export const FMODE_PATH = 1 << 14;
export const FMODE_OPENED = 128;
export const FMODE_CREATED = 256;

export class File implements MmFile {
  readonly f_dentry: Dentry;
  f_inode: Inode;
  f_op: file_operations;
  /** O_* as at open, changed by fcntl(F_SETFL). */
  f_flags: number;
  f_mode: number;
  /** Bytes; for a directory the readdir position. Under f_pos_lock. */
  f_pos = 0;
  readonly f_pos_lock = new Mutex('f_pos_lock');
  readonly f_cred: Cred;
  f_count = 1;
  f_wb_err: ErrseqCursor = 0;
  /** What syncfs(2) has told it of the errors of its superblock. */
  f_sb_err: ErrseqCursor;
  readonly f_ra: FileRaState;
  /** The filesystem's own (file->private_data). */
  private_data: object | undefined;

  constructor(dentry: Dentry, inode: Inode, flags: number, mode: number, cred: Cred) {
    this.f_dentry = dentry;
    this.f_inode = inode;
    this.f_op = inode.i_fop;
    this.f_flags = flags;
    this.f_mode = mode;
    this.f_cred = cred;
    this.f_sb_err = inode.i_sb.s_wb_err.sample();
    this.f_ra = newRaState(inode.i_sb.s_ra_pages);
  }

  get f_mapping(): AddressSpace {
    return this.f_inode.i_mapping;
  }
}
