/** A transaction, and what the journal knows of a buffer. */
import type { BufferHead } from '../../block/buffer-head.js';
import type { Task } from '../../sched/task.js';
import type { FrozenTrigger } from './types.js';

/** Handles join a running transaction; a locked one waits for its handles to stop; then it is committed; its buffers are written home last. */
export type TransactionState = 'running' | 'locked' | 'commit' | 'finished';

/** transaction_t. */
export class Transaction {
  readonly tid: number;
  state: TransactionState = 'running';
  /** Handles that are open. */
  updates = 0;
  /** Credits promised to open handles and those used: blocks that it may put into the log. */
  credits = 0;
  /** Buffers with write access, in the order of joining. Those that left it again still stand here. */
  readonly buffers: JournalHead[] = [];
  readonly revokes = new Set<number>();
  readonly callbacks: ((task: Task) => void)[] = [];
  /** Its commit has begun to flush the device: data written later is not covered. */
  flushing = false;
  /** Buffers that it has in the log. */
  logged: JournalHead[] = [];
  /** Buffers whose blocks it freed. */
  forgotten: JournalHead[] = [];
  /** Its number in the log; 0 where it had nothing to log. */
  sequence = 0;
  /** Where it begins in the log, and its blocks there. */
  start = 0;
  blocks = 0;
  /** Committed buffers that are not home yet. */
  readonly checkpoint = new Set<JournalHead>();

  constructor(tid: number) {
    this.tid = tid;
  }
}

/** struct journal_head: hangs at bh.private for as long as the journal needs the buffer. */
export class JournalHead {
  readonly bh: BufferHead;
  /** The transaction, running or locked, in which it may be changed. */
  transaction: Transaction | undefined;
  /** It was changed in it. */
  modified = false;
  /** What is to be put into it before that transaction copies it. */
  frozen: FrozenTrigger | undefined;
  /** Its block was freed in it. */
  forgotten = false;
  /** The transaction that is being committed and has, or frees, it. */
  committing: Transaction | undefined;
  /** The last committed transaction that has it, as long as it is not home. */
  cp: Transaction | undefined;
  /** It was dirty without the journal before. */
  wasDirty = false;

  constructor(bh: BufferHead) {
    this.bh = bh;
  }

  /** It is home, or its home is free: the log is not needed for it any more. */
  uncheckpoint(): void {
    this.cp?.checkpoint.delete(this);
    this.cp = undefined;
  }

  /** Let go of the buffer if no transaction needs it. */
  releaseIfIdle(): boolean {
    if (this.transaction !== undefined || this.committing !== undefined || this.cp !== undefined) return false;
    if (this.bh.private === this) this.bh.private = undefined;
    return true;
  }
}

/** The journal's part of a buffer, if it has one. */
export function journal_head(bh: BufferHead): JournalHead | undefined {
  return bh.private instanceof JournalHead ? bh.private : undefined;
}
