// The serving loop: takes requests off the transport one by one and hands each to a handler, without ever giving Node's event loop up for
// long. Between requests it sleeps in poll(2) on the device and on libuv's own descriptor together, so that whichever speaks first is
// heard at once: a request costs poll, read and write, and no trip through libuv. libuv's descriptor is dear to sleep on (it costs a
// quarter of the 4 KiB requests), so that it is left out, for some milliseconds at a time, while requests are answered as they come.

import { constants } from 'node:os';
import { POLLIN } from '../uapi/poll.js';
import { addressOf, errno, poll, uv_backend_fd, uv_backend_timeout, uv_default_loop, uv_update_time } from './libc.js';
import type { Message } from './protocol/message.js';
import { Receive, type Transport } from './transport.js';

export interface LoopHooks {
  /** Tasks that would run at the next microtask (those that wait for something else do not count). */
  running(): number;
  /** Whether something waits for a turn of Node's event loop (an immediate, say): neither sleeping nor running tasks may delay it. */
  wantsTurn?(): boolean;
}

export type StopReason = 'unmounted' | 'stopped';

/**
 * Handles one request. It runs to its first wait synchronously; a request that goes on later needs its message only when it set
 * `message.held`, and then gives it back with transport.give(). Must not throw.
 */
export type Handler = (message: Message) => void;

/** Milliseconds between turns of the event loop while requests keep coming, and some of them wait for something. */
const TURN_EVERY = 1;
/** As TURN_EVERY, when none waits: a turn costs as much as some requests, and only timers and the background hope for it. */
const TURN_AT_LAST = 8;
/** Requests between looks at the clock. */
const CLOCK_EVERY = 4;
/** Microtask ticks given to running tasks before the device is looked at again. */
const TICKS = 32;
/** Requests found by sleeping first, before reading first is tried again. */
const PROBE_EVERY = 64;
/** Sleeps in which libuv had nothing to say until its descriptor is left out. */
const LISTEN_FOR = 64;
/** Milliseconds of a sleep without libuv. Below the period of the clock tick a timer has to be programmed, which costs 9 µs in a guest. */
const DEVICE_SLEEP = 10;
/**
 * Milliseconds of the first sleep after something happened, and of the longest. Sleeping never lasts until libuv says so alone, because
 * what is queued for it (a watcher not yet registered, a tick, a microtask) makes its descriptor readable only after a turn. So each
 * sleep in which nothing happened ends in a turn, and the next one is twice as long.
 */
const SHORTEST_SLEEP = 5;
const LONGEST_SLEEP = 1024;

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
  both(limit: number): number {
    let timeout = uv_backend_timeout(this.#loop);
    if (timeout >= 0 && timeout <= limit) {
      uv_update_time(this.#loop);
      timeout = uv_backend_timeout(this.#loop);
    }
    if (timeout === 0) return Woken.DEVICE | Woken.LIBUV;
    const timer = timeout > 0 && timeout <= limit;
    const ready = this.#poll(2, timer ? timeout : limit);
    if (ready < 0) return Woken.DEVICE | Woken.LIBUV;
    if (ready === 0) return timer ? Woken.LIBUV : Woken.NOTHING;
    return (this.#shorts[3] !== 0 ? Woken.DEVICE : 0) | (this.#shorts[7] !== 0 ? Woken.LIBUV : 0);
  }

  /** Sleeps until the device has something or `limit` milliseconds are over. */
  device(limit: number): number {
    const ready = this.#poll(1, limit);
    if (ready < 0) return Woken.DEVICE | Woken.LIBUV;
    return ready === 0 ? Woken.NOTHING : Woken.DEVICE;
  }

  /** poll(2): -1 for a signal, whose arrival libuv's handler has queued. */
  #poll(count: number, timeout: number): number {
    const ready = poll(this.#address, count, timeout);
    if (ready < 0) {
      const error = errno();
      if (error !== EINTR) throw new Error(`poll failed, errno ${error}`);
    }
    return ready;
  }
}

/**
 * Gives Node's event loop turns: timers, I/O, immediates, ticks. The loop continues in an immediate, after all callbacks of a turn. It is
 * an unreferenced one, because a referenced one keeps libuv from sleeping and would make every timeout zero; so a message to itself keeps
 * libuv from sleeping before it. The port also keeps the process alive.
 */
class Turner {
  readonly #channel = new MessageChannel();

  constructor() {
    this.#channel.port1.on('message', () => undefined);
  }

  turn(): Promise<void> {
    return new Promise((resolve) => {
      setImmediate(resolve).unref();
      this.#channel.port2.postMessage(0);
    });
  }

  close(): void {
    this.#channel.port1.close();
  }
}

/** Why the synchronous part of the loop came to an end. */
const Pause = {
  /** tasks can run: give them microtasks */
  TASKS: 0,
  /** the event loop is due */
  TURN: 1,
  /** the device is gone */
  GONE: 2,
} as const;
type Pause = (typeof Pause)[keyof typeof Pause];

export class ServeLoop {
  readonly #transport: Transport;
  readonly #handler: Handler;
  readonly #hooks: LoopHooks;
  readonly #sleeper: Sleeper;
  #stopping = false;
  #message: Message;
  #untilClock = CLOCK_EVERY;
  /** When the event loop had its last turn. */
  #turned = 0;
  /** Milliseconds of the next sleep. */
  #limit = SHORTEST_SLEEP;
  /** Whether to look at the device before sleeping now. */
  #look = true;
  // With one caller at a time, a read right after a reply finds nothing: sleep first then. With several, sleeping first is the waste.
  #readFirst = true;
  #untilProbe = PROBE_EVERY;
  /** Requests since the device was last found empty. */
  #streak = 0;
  /** How many sleeps still listen to libuv: requests left waiting are likely to wait for something that libuv will tell. */
  #listen = LISTEN_FOR;
  #outstanding = 0;

  constructor(transport: Transport, handler: Handler, hooks: LoopHooks) {
    this.#transport = transport;
    this.#handler = handler;
    this.#hooks = hooks;
    this.#sleeper = new Sleeper(transport.fd);
    this.#message = transport.take();
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
    const hooks = this.#hooks;
    const turner = new Turner();
    this.#turned = performance.now();
    try {
      while (!this.#stopping) {
        // Apart and synchronous, because an async function that hardly ever awaits is hardly ever optimised.
        const pause = this.#serve();
        if (pause === Pause.GONE) return 'unmounted';
        if (pause === Pause.TASKS) {
          for (let i = 0; i < TICKS && hooks.running() > 0; i++) await undefined;
          this.#limit = SHORTEST_SLEEP;
          this.#look = true;
          if (hooks.wantsTurn?.() !== true && performance.now() - this.#turned < TURN_EVERY) continue;
        }
        await turner.turn();
        this.#turned = performance.now();
      }
      return 'stopped';
    } finally {
      turner.close();
      this.#transport.give(this.#message);
    }
  }

  /** Serves requests until something needs an await. */
  #serve(): Pause {
    const hooks = this.#hooks;
    while (!this.#stopping) {
      if (this.#look) {
        const got = this.#transport.receive(this.#message);
        if (got > 0) {
          this.#one();
          if (--this.#untilClock === 0) {
            this.#untilClock = CLOCK_EVERY;
            const due = this.#outstanding > 0 ? TURN_EVERY : TURN_AT_LAST;
            if (performance.now() - this.#turned >= due) return Pause.TURN;
          }
          if (hooks.running() > 0) return Pause.TASKS;
          continue;
        }
        if (got === Receive.RETRY) continue;
        if (got === Receive.GONE) return Pause.GONE;
        this.#readFirst = this.#streak > 1;
        this.#streak = 0;
        this.#look = false;
      }
      if (hooks.running() > 0) return Pause.TASKS;
      const woken = this.#sleep();
      this.#look = (woken & Woken.DEVICE) !== 0;
      if (woken !== Woken.DEVICE) return Pause.TURN;
    }
    return Pause.TURN;
  }

  /** Handles the request in #message, and says whether to look for the next at once. */
  #one(): void {
    this.#handler(this.#message);
    if (this.#message.held) this.#message = this.#transport.take();
    const { outstanding } = this.#transport;
    if (outstanding > this.#outstanding) this.#listen = LISTEN_FOR;
    this.#outstanding = outstanding;
    this.#limit = SHORTEST_SLEEP;
    this.#streak++;
    this.#look = this.#readFirst;
    if (!this.#readFirst && --this.#untilProbe === 0) {
      this.#untilProbe = PROBE_EVERY;
      this.#readFirst = this.#look = true;
      this.#streak = 0;
    }
  }

  /** Sleeps as is fit. @returns Woken bits */
  #sleep(): number {
    if (this.#hooks.wantsTurn?.() === true) return Woken.DEVICE | Woken.LIBUV;
    const woken = this.#listen > 0 ? this.#sleeper.both(this.#limit) : this.#sleeper.device(DEVICE_SLEEP);
    if (woken === Woken.DEVICE) this.#listen--;
    else if (woken === Woken.NOTHING) {
      this.#limit = Math.min(this.#limit * 2, LONGEST_SLEEP);
      this.#listen = Math.max(this.#listen, 1);
    } else {
      this.#limit = SHORTEST_SLEEP;
      this.#listen = LISTEN_FOR;
    }
    return woken;
  }
}
