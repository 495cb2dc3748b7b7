// /dev/fuse by read(2) and writev(2): one request a read, one reply a write, never blocking.

import { closeSync, constants as fsConstants, openSync } from 'node:fs';
import { constants } from 'node:os';
import { F_GETFL, F_SETFL } from '../uapi/fcntl.js';
import { Gather } from './gather.js';
import { addressOf, errno, fcntl, ioctl, read, write, writeLater, writev } from './libc.js';
import { Message, OUT_HEADER, type U64 } from './protocol/message.js';
import { isOneWay } from './protocol/opcodes.js';
import { Out } from './protocol/out.js';
import { Receive, type Transport } from './transport.js';

const { EAGAIN, EINTR, ENODEV, ENOENT, ECONNABORTED, EBADF } = constants.errno;
/** FUSE_DEV_IOC_CLONE: _IOR(229, 0, uint32_t) */
const FUSE_DEV_IOC_CLONE = 0x8004e500;
/** Room for a request's structs and names besides its data. */
const HEADER_ROOM = 4096;
/** Buffers kept for reuse; more than that exist only while as many requests hold theirs. */
const SPARE_MESSAGES = 16;
/** Replies without gathered data fit in this: directory listings fill it, attribute values are at most half of it. */
const OUT_CAPACITY = 128 * 1024 + OUT_HEADER;

export class FuseDevice implements Transport {
  readonly fd: number;
  readonly out = new Out(OUT_CAPACITY);
  readonly data = new Gather();
  readonly #outAddress = addressOf(this.out.bytes);
  readonly #messageSize: number;
  readonly #spare: Message[] = [];
  outstanding = 0;
  #closed = false;

  /**
   * @param fd an open /dev/fuse that is (or is about to be) mounted; this object closes it
   * @param maxWrite bytes of data in the largest WRITE that INIT will allow
   */
  constructor(fd: number, maxWrite: number) {
    this.fd = fd;
    this.#messageSize = Math.max(8192, maxWrite + HEADER_ROOM);
    const flags = fcntl(fd, F_GETFL, 0);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | fsConstants.O_NONBLOCK) < 0) {
      throw new Error(`fuse device descriptor ${fd}: fcntl failed, errno ${errno()}`);
    }
  }

  take(): Message {
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare;
    const message = new Message(Buffer.allocUnsafeSlow(this.#messageSize), 0);
    message.address = addressOf(message.bytes);
    return message;
  }

  give(message: Message): void {
    message.held = false;
    if (this.#spare.length < SPARE_MESSAGES) this.#spare.push(message);
  }

  receive(message: Message): number {
    const got = read(this.fd, message.address, this.#messageSize);
    if (got > 0) {
      message.length = got;
      if (!isOneWay(message.u32[1] ?? 0)) this.outstanding++;
      return got;
    }
    message.length = 0;
    const error = got === 0 ? ENODEV : errno();
    if (error === EAGAIN) return Receive.AGAIN;
    if (error === EINTR || error === ENOENT) return Receive.RETRY;
    if (error === ENODEV || error === ECONNABORTED || (error === EBADF && this.#closed)) return Receive.GONE;
    throw new Error(`reading the fuse device failed, errno ${error}`);
  }

  reply(unique: U64, size: number): number {
    this.outstanding--;
    this.out.header(unique, 0, size);
    return this.#write(OUT_HEADER + size);
  }

  replyError(unique: U64, error: number): number {
    // The id of an INTERRUPT is that of its request with the lowest bit set; it asks for no answer, so that one was not counted.
    const interrupt = typeof unique === 'number' ? unique % 2 !== 0 : (unique & 1n) !== 0n;
    if (!interrupt) this.outstanding--;
    this.out.header(unique, -error, 0);
    return this.#write(OUT_HEADER);
  }

  replyData(unique: U64, size: number): number {
    this.outstanding--;
    this.out.header(unique, 0, size + this.data.size);
    return this.#writev(OUT_HEADER + size);
  }

  notify(code: number, size: number): number {
    this.out.header(0, code, size);
    return this.#write(OUT_HEADER + size);
  }

  notifyData(code: number, size: number): number {
    this.out.header(0, code, size + this.data.size);
    return this.#writev(OUT_HEADER + size);
  }

  notifyLater(code: number, size: number): Promise<boolean> {
    const { data, out } = this;
    out.header(0, code, size + data.size);
    const copy = Buffer.allocUnsafeSlow(OUT_HEADER + size + data.size);
    out.bytes.copy(copy, 0, 0, OUT_HEADER + size);
    data.copyAll(copy, OUT_HEADER + size);
    data.clear();
    return writeLater(this.fd, copy).then((written) => written === copy.length);
  }

  /**
   * Another descriptor on the same connection: requests are shared out among the two, and each must be answered where it was read.
   * @throws Error when /dev/fuse cannot be opened or the kernel refuses
   */
  clone(maxWrite: number): FuseDevice {
    const fd = openSync('/dev/fuse', fsConstants.O_RDWR);
    const original = new Uint32Array([this.fd]);
    if (ioctl(fd, FUSE_DEV_IOC_CLONE, addressOf(new Uint8Array(original.buffer))) < 0) {
      const error = errno();
      closeSync(fd);
      throw new Error(`cloning the fuse device failed, errno ${error}`);
    }
    return new FuseDevice(fd, maxWrite);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.fd);
  }

  #write(size: number): number {
    for (;;) {
      if (write(this.fd, this.#outAddress, size) >= 0) return 0;
      const error = errno();
      if (error !== EINTR) return error;
    }
  }

  /** Sends `head` bytes of `out` and the data gathered. */
  #writev(head: number): number {
    const { data } = this;
    const { size } = data;
    if (data.copyTo(this.out, head)) return this.#write(head + size);
    const count = data.finish(this.#outAddress, head);
    for (;;) {
      const done = writev(this.fd, data.iovecs, count);
      const error = done >= 0 ? 0 : errno();
      if (error === EINTR) continue;
      data.clear();
      return error;
    }
  }
}
