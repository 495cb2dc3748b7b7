// The serving loop: takes requests off the transport one by one and hands each to a handler, without ever giving Node's event loop up for
// long. Between requests it sleeps in poll(2) on the device and on libuv's own descriptor together, so that whichever speaks first is
// heard at once: a request costs poll, read and write, and no trip through libuv.

import { constants } from 'node:os';
import {
  addressOf,
  errno,
  poll,
  uv_backend_fd,
  uv_backend_timeout,
  uv_default_loop,
  uv_update_time,
} from './native.js';
import type { Message } from './protocol/message.js';
import { Receive, type Transport } from './transport.js';

export interface LoopHooks {
  /** Tasks that would run at the next microtask (those that wait for something else do not count). */
  running(): number;
  /** Whether something waits for a turn of Node's event loop (an immediate, say) and sleeping must not delay it. */
  wantsTurn?(): boolean;
}

export type StopReason = 'unmounted' | 'stopped';

/**
 * Handles one request. It runs to its first wait synchronously; a request that goes on later needs its message only when it set
 * `message.held`, and then gives it back with transport.give(). Must not throw.
 */
export type Handler = (message: Message) => void;

/** Milliseconds between turns of the event loop while requests keep coming. */
const TURN_EVERY = 1;
/** Requests between looks at the clock. */
const CLOCK_EVERY = 16;
/** Microtask ticks given to running tasks before the device is looked at again. */
const TICKS = 32;
/** Requests found by sleeping first, before reading first is tried again. */
const PROBE_EVERY = 64;
/**
 * Milliseconds of the first sleep after something happened, and of the longest. Sleeping never lasts until libuv says so alone, because
 * what is queued for it (a watcher not yet registered, a tick, a microtask) makes its descriptor readable only after a turn. So each
 * sleep in which nothing happened ends in a turn, and the next one is twice as long.
 */
const SHORTEST_SLEEP = 1;
const LONGEST_SLEEP = 1024;

const POLLIN = 0x0001;
const { EINTR } = constants.errno;

/** What ended a sleep. */
const Woken = { DEVICE: 1, LIBUV: 2, NOTHING: 0 } as const;

/** The two descriptors to sleep on. */
class Sleeper {
  readonly #loop = uv_default_loop();
  readonly #words = new Int32Array(new ArrayBuffer(16));
  readonly #shorts = new Uint16Array(this.#words.buffer);
  readonly #address = addressOf(new Uint8Array(this.#words.buffer));

  constructor(fd: number) {
    this.#words[0] = fd;
    this.#words[2] = uv_backend_fd(this.#loop);
    this.#shorts[2] = POLLIN;
    this.#shorts[6] = POLLIN;
  }

  /**
   * Sleeps until the device or libuv has something, libuv's next timer is due, or `limit` milliseconds are over.
   * @returns Woken bits
   */
  sleep(limit: number): number {
    let timeout = uv_backend_timeout(this.#loop);
    if (timeout >= 0 && timeout <= limit) {
      uv_update_time(this.#loop);
      timeout = uv_backend_timeout(this.#loop);
    }
    if (timeout === 0) return Woken.DEVICE | Woken.LIBUV;
    const timer = timeout > 0 && timeout <= limit;
    const ready = poll(this.#address, 2, timer ? timeout : limit);
    if (ready < 0) {
      const error = errno();
      if (error !== EINTR) throw new Error(`poll failed, errno ${error}`);
      return Woken.DEVICE | Woken.LIBUV; // a signal: libuv's handler has queued it
    }
    if (ready === 0) return timer ? Woken.LIBUV : Woken.NOTHING;
    return (this.#shorts[3] !== 0 ? Woken.DEVICE : 0) | (this.#shorts[7] !== 0 ? Woken.LIBUV : 0);
  }
}

/** One turn of Node's event loop: timers, I/O, immediates, ticks. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export class ServeLoop {
  readonly #transport: Transport;
  readonly #handler: Handler;
  readonly #hooks: LoopHooks;
  #stopping = false;

  constructor(transport: Transport, handler: Handler, hooks: LoopHooks) {
    this.#transport = transport;
    this.#handler = handler;
    this.#hooks = hooks;
  }

  /** Ends run() after the request in hand (after a DESTROY, say), or at the next turn of the event loop. */
  stop(): void {
    this.#stopping = true;
  }

  /**
   * Serves until the filesystem is unmounted or stop() is called. Does not close the transport.
   * @throws Error when the device fails in an unknown way
   */
  async run(): Promise<StopReason> {
    const transport = this.#transport;
    const handler = this.#handler;
    const hooks = this.#hooks;
    const sleeper = new Sleeper(transport.fd);
    // libuv reckons no timeout, and Node would exit, without anything to wait for.
    const alive = setInterval(() => undefined, 0x7fffffff);
    let message = transport.take();
    let untilClock = CLOCK_EVERY;
    let turned = performance.now();
    let limit = SHORTEST_SLEEP;
    // With one caller at a time, a read right after a reply finds nothing: sleep first then. With several, sleeping first is the waste.
    let readFirst = true;
    let untilProbe = PROBE_EVERY;
    let streak = 0;
    let look = true;
    try {
      while (!this.#stopping) {
        if (look) {
          const got = transport.receive(message);
          if (got > 0) {
            handler(message);
            if (message.held) message = transport.take();
            streak++;
            limit = SHORTEST_SLEEP;
            look = readFirst;
            if (!readFirst && --untilProbe === 0) {
              untilProbe = PROBE_EVERY;
              readFirst = look = true;
              streak = 0;
            }
            if (--untilClock === 0) {
              untilClock = CLOCK_EVERY;
              if (performance.now() - turned >= TURN_EVERY) {
                await turn();
                turned = performance.now();
              }
            }
            if (hooks.running() === 0) continue;
          } else if (got === Receive.RETRY) continue;
          else if (got === Receive.GONE) return 'unmounted';
          else {
            readFirst = streak > 1;
            streak = 0;
            look = false;
          }
        }
        if (hooks.running() > 0) {
          for (let i = 0; i < TICKS && hooks.running() > 0; i++) await undefined;
          if (performance.now() - turned >= TURN_EVERY) {
            await turn();
            turned = performance.now();
          }
          limit = SHORTEST_SLEEP;
          look = true;
          continue;
        }
        const woken = hooks.wantsTurn?.() === true ? Woken.LIBUV | Woken.DEVICE : sleeper.sleep(limit);
        look = (woken & Woken.DEVICE) !== 0;
        if (woken !== Woken.DEVICE) {
          limit = woken === Woken.NOTHING ? Math.min(limit * 2, LONGEST_SLEEP) : SHORTEST_SLEEP;
          await turn();
          turned = performance.now();
        }
      }
      return 'stopped';
    } finally {
      clearInterval(alive);
      transport.give(message);
    }
  }
}
