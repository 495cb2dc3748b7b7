// What carries requests and replies. device.ts does it with read(2) and writev(2) on /dev/fuse; another way (io_uring, a library) would
// implement the same interface.

import type { Gather } from './gather.js';
import type { Message, U64 } from './protocol/message.js';
import type { Out } from './protocol/out.js';

/** What receive() says when it has no request, all negative. */
export const Receive = {
  /** nothing is waiting */
  AGAIN: -1,
  /** a signal, or a request withdrawn while it was copied: try again */
  RETRY: -2,
  /** the filesystem is unmounted, or the connection aborted: there will be nothing more */
  GONE: -3,
} as const;

/** Where a reply is built and how it leaves. Encode into `out` (or gather into `data`), then send at once, with nothing in between. */
export interface Replies {
  readonly out: Out;
  /** Data that follow the struct of a replyData or notifyData; cleared after each. */
  readonly data: Gather;
  /**
   * Sends the `size` bytes encoded in `out`.
   * @returns 0, or the errno: ENOENT when the caller is gone (interrupted, aborted), which needs no care
   */
  reply(unique: U64, size: number): number;
  /** Sends what reply() sends, then the data gathered. */
  replyData(unique: U64, size: number): number;
  /** Sends an error. @param errno positive */
  replyError(unique: U64, errno: number): number;
  /**
   * Sends a notification (Notify) from this thread. For INVAL_INODE, INVAL_ENTRY, DELETE, STORE and PRUNE the kernel takes locks (the
   * directory's i_rwsem, folio locks) that callers hold while they wait for this very daemon: with any request outstanding use
   * notifyLater(), or the daemon hangs.
   * @returns 0 or the errno: ENOENT when the kernel knows no such inode or name
   */
  notify(code: number, size: number): number;
  notifyData(code: number, size: number): number;
  /**
   * Sends what notify() and notifyData() send, from a thread of the pool, where it may wait for requests that this thread answers.
   * `out` and `data` are copied and free at once.
   * @returns whether the kernel accepted it
   */
  notifyLater(code: number, size: number): Promise<boolean>;
}

export interface Transport extends Replies {
  /** Fills the message with one request. @returns its length in bytes, or a Receive code. @throws Error for any other failure */
  receive(message: Message): number;
  /** A message buffer large enough for any request. */
  take(): Message;
  /** Gives a message back. */
  give(message: Message): void;
  /** Requests received that want a reply and have none yet. */
  readonly outstanding: number;
  /** The descriptor to poll for requests. */
  readonly fd: number;
  close(): void;
}
