/**
 * The session: every request of the kernel becomes a Task, is dispatched to the VFS, and is answered. What one opcode does is in ops/; what all of them
 * share (tasks, replies, interrupts, node ids, open files) is here.
 *
 * fuse/ is the connection with the kernel; it may import latch/ and below, and its wire (protocol/, device, loop, mounting) nothing but uapi/.
 */

import { SB_POSIXACL, type SuperBlock } from '../fs/super-block.js';
import { thaw_super } from '../fs/super-freeze.js';
import { SB_FREEZE_COMPLETE } from '../fs/super-writers.js';
import { task_end } from '../locking/context.js';
import { type Awaitable, orElse } from '../sched/awaitable.js';
import { ERRNO, Errno, errnoOf } from '../sched/errno.js';
import type { ErrseqCursor } from '../sched/errseq.js';
import { Task } from '../sched/task.js';
import { MS_STRICTATIME } from '../uapi/mount.js';
import { AnonymousFiles } from './anonymous.js';
import { callerOf } from './creds.js';
import { Handles } from './handles.js';
import { type Negotiated, negotiate } from './init.js';
import { Nodes } from './nodes.js';
import { CachedPages } from './ops/cached-pages.js';
import { Forgetting } from './ops/forgetting.js';
import { Pending } from './ops/pending.js';
import { HANDLERS, type OpHandler, UNANSWERED } from './ops/table.js';
import { INIT } from './protocol/flags.js';
import { type Message, ProtocolError, type U64 } from './protocol/message.js';
import { isOneWay, Opcode, opcodeName } from './protocol/opcodes.js';
import { decodeHeader, peekHeader } from './protocol/read.js';
import { decodeInit, decodeInterrupt } from './protocol/read-files.js';
import { DEFAULT_WIRE, type RequestHeader, type Wire } from './protocol/requests.js';
import { encodeInit } from './protocol/write.js';
import { type SessionLog, type SessionOptions, wishes } from './session-options.js';
import type { Transport } from './transport.js';

/** What comes without a handle where OPENDIR is answered with ENOSYS. */
const OF_DIRECTORIES = new Set<number>([Opcode.READDIR, Opcode.READDIRPLUS, Opcode.FSYNCDIR, Opcode.IOCTL]);

export class Session {
  readonly transport: Transport;
  readonly sb: SuperBlock;
  readonly options: SessionOptions;
  readonly nodes: Nodes;
  readonly handles = new Handles();
  readonly log: SessionLog;
  /** Files used without having been opened. */
  readonly anonymous: AnonymousFiles;
  /** What the kernel may have read of files to keep. */
  readonly cached = new CachedPages();
  /** What INIT settled; undefined before it. */
  negotiated: Negotiated | undefined;
  /** Set by DESTROY. */
  destroyed = false;
  /** Requests by opcode, for statistics; those from the last one on together. */
  readonly counts = new Uint32Array(64);
  /** What SYNCFS has told of the errors of its superblock. */
  f_sb_err: ErrseqCursor;
  /** Requests under way that have had to wait, by their id. */
  readonly #pending: Pending;
  readonly #forgetting = new Forgetting();
  /** The id of a DESTROY that has no answer yet. */
  #lastRequest: U64 | undefined;
  readonly #onDestroy: () => void;

  constructor(transport: Transport, sb: SuperBlock, options: SessionOptions, log: SessionLog, onDestroy: () => void) {
    this.transport = transport;
    this.sb = sb;
    this.f_sb_err = sb.s_wb_err.sample();
    this.options = options;
    this.log = log;
    this.nodes = new Nodes(sb);
    this.#pending = new Pending(sb.sched);
    this.anonymous = new AnonymousFiles(this.nodes);
    this.#onDestroy = onDestroy;
  }

  /** How names and structs are laid out on this connection. */
  get wire(): Wire {
    return this.negotiated ?? DEFAULT_WIRE;
  }

  /** Seconds for which the kernel may keep a name and attributes. */
  get validity(): number {
    return this.options.validity;
  }

  /** The kernel keeps what is written, and writes it back when it likes. */
  get writesBack(): boolean {
    return ((this.negotiated?.flags ?? 0) & INIT.WRITEBACK_CACHE) !== 0;
  }

  /** Requests so far, by name. */
  requests(): Record<string, number> {
    const named: Record<string, number> = {};
    for (const [opcode, count] of this.counts.entries()) if (count > 0) named[opcodeName(opcode)] = count;
    return named;
  }

  /** Whether requests of this kind come without a handle, because we let the kernel do without opening. */
  mayLackHandle(opcode: number): boolean {
    if (this.negotiated?.mayRefuseOpen === true) return true;
    return this.negotiated?.mayRefuseOpendir === true && OF_DIRECTORIES.has(opcode);
  }

  /** Handle one request; the loop's handler. Never throws. */
  readonly handle = (message: Message): void => {
    let header: RequestHeader;
    try {
      header = decodeHeader(message);
    } catch (error) {
      this.#unreadable(message, error);
      return;
    }
    this.#count(header.opcode);
    try {
      this.#dispatch(header, message);
    } catch (error) {
      this.#fail(header, error);
    }
  };

  /** A header that lies. Its id can be answered where there is one. */
  #unreadable(message: Message, error: unknown): void {
    this.log.warn({ err: error }, 'a message without a readable header was refused');
    const header = peekHeader(message);
    if (header !== undefined && !isOneWay(header.opcode)) this.transport.replyError(header.unique, ERRNO.EIO);
  }

  #count(opcode: number): void {
    const slot = opcode < this.counts.length ? opcode : this.counts.length - 1;
    this.counts[slot] = (this.counts[slot] ?? 0) + 1;
  }

  #dispatch(header: RequestHeader, message: Message): void {
    const { opcode } = header;
    if (opcode === Opcode.INIT) this.#init(header, message);
    else if (opcode === Opcode.INTERRUPT) this.#interrupt(header, message);
    else if (opcode === Opcode.DESTROY) this.#destroy(header);
    else this.#serve(header, message);
  }

  #serve(header: RequestHeader, message: Message): void {
    const { opcode } = header;
    const handler = HANDLERS[opcode];
    if (handler === undefined) {
      if (UNANSWERED[opcode] === undefined) this.log.warn({ opcode }, `unknown opcode ${opcode}`);
      if (!isOneWay(opcode)) this.transport.replyError(header.unique, ERRNO.ENOSYS);
      return;
    }
    const task = this.newTask(header);
    // The answer belongs to the run, also when it is an error: once the run is over, the loop may go to sleep.
    const result = this.sb.sched.run(Session.#answerTo, this, handler, task, header, message);
    if (!(result instanceof Promise)) return;
    // It waits: its message stays with it, and a signal can find it.
    message.held = true;
    this.#pending.add(header.unique, task, result);
    if (isOneWay(opcode)) this.#forgetting.add(result);
  }

  static #answerTo(
    s: Session,
    handler: OpHandler,
    task: Task,
    header: RequestHeader,
    message: Message,
  ): Awaitable<void> {
    return s.#answer(handler, task, header, message);
  }

  /** Run a handler to its end; what it throws is the answer. */
  #answer(handler: OpHandler, task: Task, header: RequestHeader, message: Message): Awaitable<void> {
    const answered = orElse(Session.#handle, Session.#answerError, this, handler, task, header, message);
    if (answered instanceof Promise) return this.#endAfter(answered, task, header, message);
    task_end(task);
    return undefined;
  }

  static #handle(s: Session, handler: OpHandler, task: Task, header: RequestHeader, message: Message): Awaitable<void> {
    return s.#forgetting.serve(s, handler, task, header, message);
  }

  static #answerError(error: unknown, s: Session, _handler: OpHandler, _task: Task, header: RequestHeader): void {
    s.#fail(header, error);
  }

  async #endAfter(answered: Promise<void>, task: Task, header: RequestHeader, message: Message): Promise<void> {
    await answered;
    this.#pending.delete(header.unique);
    this.transport.give(message);
    task_end(task);
  }

  /** The task of a request: its caller's identity, asked for further only where needed. */
  newTask(header: RequestHeader): Task {
    const cred = callerOf(header, this.negotiated?.mapped === true);
    const task = new Task(this.sb.machine.sched, this.sb.machine.validator, { comm: 'fuse', pid: header.pid, cred });
    task.syscall = opcodeName(header.opcode);
    task.permitted = this.sb.kernelChecksPermissions;
    return task;
  }

  /** A task of the session's own, run to its end: for what no reply waits for (FORGET, RELEASE at the end). */
  background(name: string, body: (task: Task) => Promise<void> | void): void {
    const task = this.sb.newTask({ comm: name });
    const failed = (error: unknown): void => this.log.error({ err: error }, `${name} failed`);
    try {
      const result = this.sb.sched.run(() => body(task));
      if (result instanceof Promise) result.then(() => task_end(task), failed);
      else task_end(task);
    } catch (error) {
      failed(error);
    }
  }

  /** Answer a request with an errno; what is not an errno is a bug: EIO, and in the log with its stack. */
  #fail(header: RequestHeader, error: unknown): void {
    const known = error instanceof ProtocolError || error instanceof Errno;
    if (!known) this.log.error({ err: error, request: opcodeName(header.opcode) }, 'request failed');
    if (isOneWay(header.opcode)) return;
    this.transport.replyError(header.unique, error instanceof ProtocolError ? error.errno : errnoOf(error));
  }

  /** Every read is to be seen, because it moves the atime: what is opened must not be read from what the kernel has cached before. */
  get strictAtime(): boolean {
    return (this.sb.s_flags & MS_STRICTATIME) !== 0;
  }

  #init(header: RequestHeader, message: Message): void {
    const answer = negotiate(
      decodeInit(message),
      wishes(this.options, (this.sb.s_flags & SB_POSIXACL) !== 0, this.strictAtime),
    );
    if (answer.kind === 'refuse') {
      this.log.error(answer.reason);
      this.transport.replyError(header.unique, ERRNO.EPROTO);
      this.#onDestroy();
      return;
    }
    if (answer.kind === 'ready') {
      this.negotiated = answer.negotiated;
      const { mayRefuseOpen, mayRefuseOpendir } = answer.negotiated;
      if (mayRefuseOpen || mayRefuseOpendir) {
        this.nodes.onForget = (task, nodeid) => this.anonymous.forget(task, nodeid);
      }
    }
    this.transport.reply(header.unique, encodeInit(this.transport.out, answer.reply));
    if (answer.kind === 'ready') this.options.onReady?.();
  }

  /**
   * A signal for a request. One that is not here has been answered, or was not read yet: EAGAIN makes the kernel send the
   * INTERRUPT again if it is still of interest.
   */
  #interrupt(header: RequestHeader, message: Message): void {
    const { unique } = decodeInterrupt(message);
    if (!this.#pending.interrupt(unique)) this.transport.replyError(header.unique, ERRNO.EAGAIN);
  }

  /** The kernel's last request. On a disk umount(2) waits for the answer, which `farewell` gives. */
  #destroy(header: RequestHeader): void {
    this.destroyed = true;
    this.#lastRequest = header.unique;
    this.#onDestroy();
  }

  /** Tell a kernel that waits for it that the filesystem is unmounted and its device free. After shutdown, and once. */
  farewell(): void {
    if (this.#lastRequest !== undefined) this.transport.reply(this.#lastRequest, 0);
    this.#lastRequest = undefined;
  }

  /**
   * Give back everything that the kernel held through us: what is under way, open files, then nodes. After the last request. Who waits does so for
   * nobody any more, and is interrupted; a frozen filesystem is thawed, because nobody is left to do it.
   */
  async shutdown(): Promise<void> {
    const task = this.sb.newTask({ comm: 'shutdown' });
    if (this.sb.s_writers.frozen === SB_FREEZE_COMPLETE) await thaw_super(task, this.sb);
    await this.#pending.interruptAll();
    await this.handles.closeAll(task);
    await this.anonymous.closeAll(task);
    await this.nodes.forgetAll(task);
    task_end(task);
  }
}
