// The system calls that Node does not have, called in the process's own C library through koffi. Buffers go by address: a number that
// stays true as long as the buffer lives, because backing stores do not move.

import koffi from 'koffi';

const lib = koffi.load(null);

type Int = number;
type Address = number;

/** read(2) from a descriptor into memory: bytes, or -1 with errno(). */
export const read: (fd: Int, address: Address, size: number) => number = lib.func('read', 'int', [
  'int',
  'uintptr_t',
  'size_t',
]);
/** write(2). */
export const write: (fd: Int, address: Address, size: number) => number = lib.func('write', 'int', [
  'int',
  'uintptr_t',
  'size_t',
]);
interface WriteCall {
  async(fd: Int, bytes: Uint8Array, size: number, done: (error: unknown, result: number) => void): void;
}
const writeCall: WriteCall = lib.func('write', 'int', ['int', 'void *', 'size_t']);
/** write(2) on a thread of the pool: bytes, or -1 (the errno stays on that thread). */
export function writeLater(fd: Int, bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    writeCall.async(fd, bytes, bytes.length, (error, result) => {
      if (error) reject(error);
      else resolve(result);
    });
  });
}
/** writev(2): an array of struct iovec at an address. */
export const writev: (fd: Int, iovecs: Address, count: number) => number = lib.func('writev', 'int', [
  'int',
  'uintptr_t',
  'int',
]);
/** poll(2): an array of struct pollfd at an address, milliseconds. */
export const poll: (pollfds: Address, count: number, timeout: number) => number = lib.func('poll', 'int', [
  'uintptr_t',
  'size_t',
  'int',
]);
/** ioctl(2) with a pointer. */
export const ioctl: (fd: Int, request: number, address: Address) => number = lib.func('ioctl', 'int', [
  'int',
  'size_t',
  'uintptr_t',
]);
/** fcntl(2) with an integer. */
export const fcntl: (fd: Int, command: number, argument: number) => number = lib.func('fcntl', 'int', [
  'int',
  'int',
  'intptr_t',
]);
/** mount(2). */
export const mount: (source: string, target: string, type: string, flags: number, data: string) => number = lib.func(
  'mount',
  'int',
  ['str', 'str', 'str', 'size_t', 'str'],
);
/** umount2(2). */
export const umount2: (target: string, flags: number) => number = lib.func('umount2', 'int', ['str', 'int']);
/** socketpair(2): two descriptors at an address. */
export const socketpair: (domain: Int, type: Int, protocol: Int, pair: Address) => number = lib.func(
  'socketpair',
  'int',
  ['int', 'int', 'int', 'uintptr_t'],
);
/** recvmsg(2): a struct msghdr at an address. */
export const recvmsg: (fd: Int, header: Address, flags: Int) => number = lib.func('recvmsg', 'int', [
  'int',
  'uintptr_t',
  'int',
]);
/** The address of libuv's loop, for the calls below. */
export const uv_default_loop: () => Address = lib.func('uv_default_loop', 'uintptr_t', []);
/** The descriptor that becomes readable when libuv has an event. */
export const uv_backend_fd: (loop: Address) => number = lib.func('uv_backend_fd', 'int', ['uintptr_t']);
/** Milliseconds that libuv would sleep: -1 without end, 0 when something is due or asked to run. */
export const uv_backend_timeout: (loop: Address) => number = lib.func('uv_backend_timeout', 'int', ['uintptr_t']);
/** Brings libuv's clock up to now; the timeout above is reckoned from it. */
export const uv_update_time: (loop: Address) => void = lib.func('uv_update_time', 'void', ['uintptr_t']);

/** errno of the last call that failed. */
export function errno(): number {
  return koffi.errno();
}

const bases = new WeakMap<object, number>();
let lastStore: object | undefined;
let lastBase = 0;

/** Where the bytes of a view lie in memory. */
export function addressOf(bytes: Uint8Array): number {
  const store = bytes.buffer;
  if (store !== lastStore) {
    let base = bases.get(store);
    if (base === undefined) {
      base = Number(koffi.address(store));
      bases.set(store, base);
    }
    lastStore = store;
    lastBase = base;
  }
  return lastBase + bytes.byteOffset;
}
