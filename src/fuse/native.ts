/**
 * The second transport: the npm package fuse-native, which wraps libfuse 2. It is optional, and needs libfuse.so.2 at run time; this file loads it, starts
 * and ends it. It speaks in paths instead of inodes: native-ops.ts translates its callbacks onto the VFS. The README lists what it cannot carry.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { SuperBlock } from '../fs/super-block.js';
import { fusermountOptions } from './mount-fusermount.js';
import { MountError, type MountOptions } from './mount-options.js';
import { type NativeCallbacks, NativeOps, type NativeRoom } from './native-ops.js';
import type { SessionLog } from './session-options.js';

/** Ends a callback: a negative errno or a size, then the buffer that came with it. */
type Signal = (result: number, buffer: ArrayBufferLike) => void;

/** The part of fuse-native 2.2's class that is used; what begins with an underscore is replaced. */
interface NativeFuse {
  open(done: (error: Error | null) => void): void;
  close(done: (error: Error | null) => void): void;
  _fuseOptions: () => string;
  _op_getxattr: (signal: Signal, path: string, name: string, room: Buffer) => void;
  _op_listxattr: (signal: Signal, path: string, room: Buffer) => void;
}

interface NativeClass {
  new (mountpoint: string, callbacks: NativeCallbacks, options: { readonly timeout: false }): NativeFuse;
  /** How the package itself unmounts, with a shell; replaced. */
  unmount: (mountpoint: string, done: (error: Error | null) => void) => void;
}

function isNativeClass(value: unknown): value is NativeClass {
  return typeof value === 'function' && 'unmount' in value;
}

/** What a failed load means. @param message the loader's words */
export function loadError(code: string, message: string): MountError {
  if (message.includes('libfuse.so.2')) {
    return new MountError('ENOENT', 'the fuse-native transport needs libfuse.so.2: sudo apt-get install libfuse2');
  }
  if (code === 'MODULE_NOT_FOUND' && message.includes("'fuse-native'")) {
    return new MountError('ENOENT', 'the fuse-native transport needs an optional package: npm install fuse-native');
  }
  const first = message.split('\n', 1)[0] ?? '';
  return new MountError(
    'ENOEXEC',
    `fuse-native cannot be loaded by Node ${process.versions.node} on ${process.platform}-${process.arch} (${first}): use --transport=dev-fuse`,
  );
}

/** Load the package. @throws MountError with a line for the user */
export function loadNative(): NativeClass {
  let loaded: unknown;
  try {
    loaded = createRequire(import.meta.url)('fuse-native');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    throw loadError(code, error instanceof Error ? error.message : String(error));
  }
  if (!isNativeClass(loaded)) throw loadError('', 'it is not the package that was expected');
  return loaded;
}

/** libfuse's option string: files carry their own inode numbers, writes come in 128 KiB; attributes are asked for each time, because every name of a file is a file of its own to the kernel. */
function libfuseOptions(options: MountOptions): string {
  const list = fusermountOptions({ ...options, defaultPermissions: true });
  const extra = options.nonempty === true ? ',nonempty' : '';
  return `-o${list},big_writes,use_ino,attr_timeout=0,auto_cache${extra}`;
}

/** Whether descriptor `fd` is still a /dev/fuse. */
function isDevice(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse';
  } catch {
    return false;
  }
}

function devices(): string[] {
  return readdirSync('/proc/self/fd').filter(isDevice);
}

/** Milliseconds between looks at whether libfuse has let the device go: it tells nobody. */
const LOOK_EVERY = 100;

export class NativeTransport {
  readonly #fuse: NativeFuse;
  readonly #ops: NativeOps;
  /** The device that libfuse opened, by number. */
  #device: string | undefined;
  #stopping = false;

  /** @param mountpoint checked, absolute @throws MountError where the package cannot be had */
  constructor(mountpoint: string, sb: SuperBlock, options: MountOptions, log: SessionLog) {
    const Native = loadNative();
    Native.unmount = (_mountpoint, done) => done(null);
    const ops = new NativeOps(sb, log);
    this.#ops = ops;
    this.#fuse = new Native(mountpoint, ops.callbacks, { timeout: false });
    this.#fuse._fuseOptions = () => libfuseOptions(options);
    // The package's own forms of these two do not look at how much room the caller has.
    this.#fuse._op_getxattr = (signal, path, name, room) => ops.getxattr(path, name, room, reply(signal, room));
    this.#fuse._op_listxattr = (signal, path, room) => ops.listxattr(path, room, reply(signal, room));
  }

  get requests(): number {
    return this.#ops.requests;
  }

  /** Mount. Resolves when the kernel and libfuse have agreed on the protocol. @throws MountError */
  async mount(mountpoint: string): Promise<void> {
    const before = new Set(devices());
    await new Promise<void>((resolve, reject) => {
      this.#fuse.open((error) => {
        if (error === null || error === undefined) resolve();
        else reject(new MountError('EIO', `libfuse could not mount on ${mountpoint}: ${error.message}`));
      });
    });
    this.#device = devices().find((fd) => !before.has(fd));
  }

  /** Serve until it is unmounted or the connection is aborted: libfuse closes the device then. */
  async run(): Promise<void> {
    const fd = this.#device;
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (!this.#stopping && fd !== undefined && isDevice(fd)) return;
        clearInterval(timer);
        resolve();
      }, LOOK_EVERY);
    });
  }

  /** End run() without an unmount. */
  stop(): void {
    this.#stopping = true;
  }

  /** Close what is open, and let the event loop end. */
  async shutdown(): Promise<void> {
    await this.#ops.shutdown();
    await new Promise<void>((resolve) => this.#fuse.close(() => resolve()));
  }
}

/** A callback's end for what answers with bytes in `room`. */
function reply(signal: Signal, room: Buffer): NativeRoom {
  return (result) => signal(result, room.buffer);
}
