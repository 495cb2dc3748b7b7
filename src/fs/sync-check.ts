/**
 * What fsync and sync_fs promise when they succeed: what was changed before they were called is on the device. What others change meanwhile says nothing. Pages, inodes, the filesystem's log
 * and the cache of the device each tell for themselves what they still keep back.
 */

import { file_operations } from '../contract/file.js';
import type { Row } from '../contract/row.js';
import { super_operations } from '../contract/super.js';
import { pageOf } from '../mm/folio.js';
import { all_clean, all_written } from '../mm/writepages-check.js';
import type { ErrseqCursor } from '../sched/errseq.js';
import type { Task } from '../sched/task.js';
import { S_IFMT, S_IFREG } from '../uapi/stat.js';
import type { File } from './file.js';
import { I_DIRTY_DATASYNC, I_DIRTY_SYNC, type Inode, isDir } from './inode.js';
import type { SuperBlock } from './super-block.js';

/** How things stood before a file was synced. */
interface BeforeSync {
  /** How often a page of the file had become dirty. */
  readonly dirtied: number;
  /** There were pages to write, or being written. */
  readonly pages: boolean;
  /** Flushes of the device that had succeeded. */
  readonly flushes: number;
  /** Inodes of the filesystem that had been written. */
  readonly written: number;
  /** In which ways the inode was dirty. */
  readonly state: number;
  /** The transaction with the file's last change. */
  readonly tid: number | undefined;
  /** Writing has failed, and who has the file open has not been told: what it was told of until then. */
  readonly untold: ErrseqCursor | undefined;
}

/** How things stand before an fsync of a range of bytes: what check_fsync compares with. */
export function before_fsync(file: File, start: number, end: number, datasync: boolean): BeforeSync {
  const { f_inode: inode, f_mapping: mapping } = file;
  const { i_sb: sb } = inode;
  const [first, last] = [pageOf(start), pageOf(end)];
  const has = (mark: 'dirty' | 'writeback'): boolean =>
    mapping.i_pages.marked(mark) && mapping.i_pages.find(first, last, mark) !== undefined;
  return {
    dirtied: mapping.nr_dirtied,
    pages: has('dirty') || has('writeback'),
    flushes: sb.s_bdev?.queue.flushes ?? 0,
    written: sb.s_wb.written,
    state: inode.i_state,
    tid: sb.s_log?.tid_of(inode, datasync),
    untold: mapping.wb_err.check(file.f_wb_err) === undefined ? undefined : file.f_wb_err,
  };
}

function broken(task: Task, row: Row, rule: string, message: string, operation: object): void {
  task.validator.violation(task, 'promise', {
    message: `${row.section}.${row.op} has succeeded: ${message}`,
    rule: `sync#${rule}`,
    row,
    held: [...task.held],
    operation,
  });
}

/**
 * ->fsync has succeeded. Of a device, or a pipe, it is not about the inode that has its name.
 * @param start byte
 * @param end byte, inclusive
 * @throws with enforce=error EIO
 */
export function check_fsync(
  task: Task,
  file: File,
  start: number,
  end: number,
  datasync: boolean,
  before: BeforeSync,
): void {
  const { fsync } = file.f_op;
  const { f_inode: inode, f_mapping: mapping } = file;
  if (!task.validator.checking || fsync === undefined || !(isDir(inode) || (inode.i_mode & S_IFMT) === S_IFREG)) return;
  const { i_sb: sb } = inode;
  const tell = (rule: string, message: string): void => broken(task, file_operations.fsync, rule, message, fsync);
  if (before.untold !== undefined && before.untold === file.f_wb_err) {
    tell('tells-of-errors', 'writing had failed before, and who has the file open is not told');
  }
  if (!all_clean(mapping, start, end, before.dirtied)) {
    tell('writes-what-was-dirty', 'a page that was dirty before has not been written');
    return;
  }
  if (!all_written(mapping, start, end, before.dirtied)) {
    tell('waits-for-what-it-writes', 'a page that was dirty before is still being written');
  }
  if (inode_left(inode, before, datasync ? I_DIRTY_DATASYNC : I_DIRTY_SYNC | I_DIRTY_DATASYNC)) {
    tell('writes-the-inode', 'the inode was dirty before and has not been written');
  }
  if (before.tid !== undefined && (sb.s_log?.commitSequence ?? before.tid) < before.tid) {
    tell('commits-what-was-changed', `transaction ${before.tid} has the last change of the inode and is not committed`);
  }
  const { s_bdev: bdev } = sb;
  if (before.pages && bdev !== undefined && !bdev.ephemeral && bdev.queue.flushes === before.flushes) {
    tell('flushes-the-device', 'pages were written and the device may have them in its volatile cache only');
  }
}

/** Whether an inode that is written by write_inode alone was dirty and is, with no inode written in between. A filesystem that has dirty_inode does it in its own way. */
function inode_left({ i_sb: sb, i_state }: Inode, before: BeforeSync, bits: number): boolean {
  if (sb.s_op.write_inode === undefined || sb.s_op.dirty_inode !== undefined) return false;
  return (before.state & i_state & bits) !== 0 && sb.s_wb.written === before.written;
}

/** ->sync_fs has succeeded and was to wait. @param tid the youngest transaction when it was called @throws with enforce=error EIO */
export function check_sync_fs(task: Task, sb: SuperBlock, tid: number | undefined): void {
  const { s_log: log, s_op } = sb;
  if (!task.validator.checking || tid === undefined || log === undefined || log.commitSequence >= tid) return;
  const message = `transaction ${tid} is not committed`;
  broken(task, super_operations.sync_fs, 'commits-what-was-changed', message, s_op.sync_fs ?? s_op);
}
