// The device and the serving loop over a socket pair that keeps message boundaries, in the kernel's place: no mount is needed.

import { closeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import t from 'tap';
import { addressOf, fcntl, read, socketpair, write } from '../../src/fuse/libc.js';
import {
  decodeHeader,
  decodeRead,
  encodeWrite,
  FuseDevice,
  type Message,
  Opcode,
  Receive,
  ServeLoop,
} from '../../src/fuse/wire.js';
import { F_SETFL } from '../../src/uapi/fcntl.js';
import { request, strings, u32, u64 } from './request.js';

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const MAX_WRITE = 128 * 1024;

/** The kernel's end. */
class Peer {
  readonly fd: number;
  readonly #buffer = Buffer.alloc(1 << 20);
  constructor(fd: number) {
    this.fd = fd;
    fcntl(fd, F_SETFL, 0o4002); // O_RDWR | O_NONBLOCK
  }
  send(m: Message): void {
    t.equal(write(this.fd, addressOf(m.bytes), m.length), m.length);
  }
  /** The reply that waits, undefined when none does. */
  receive(): { error: number; unique: bigint; body: Buffer } | undefined {
    const got = read(this.fd, addressOf(this.#buffer), this.#buffer.length);
    if (got <= 0) return undefined;
    const b = this.#buffer;
    t.equal(b.readUInt32LE(0), got, 'length in the header');
    return { error: b.readInt32LE(4), unique: b.readBigUInt64LE(8), body: Buffer.from(b.subarray(16, got)) };
  }
  async next() {
    for (;;) {
      const reply = this.receive();
      if (reply !== undefined) return reply;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  close(): void {
    closeSync(this.fd);
  }
}

function pair(): { device: FuseDevice; peer: Peer } {
  const fds = new Int32Array(2);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, addressOf(new Uint8Array(fds.buffer))) < 0) throw new Error('socketpair');
  const [a = -1, b = -1] = fds;
  return { device: new FuseDevice(a, MAX_WRITE), peer: new Peer(b) };
}

const readRequest = (unique: number | bigint, size = 4) =>
  request(Opcode.READ, [u64(1, 0), u32(size, 0), u64(0), u32(0, 0)], { unique });

t.test('replies', async (t) => {
  const { device, peer } = pair();
  const message = device.take();
  t.equal(device.receive(message), Receive.AGAIN);
  peer.send(request(Opcode.LOOKUP, [strings('a')], { unique: 2n ** 63n + 2n }));
  t.equal(device.receive(message), 42);
  t.equal(device.outstanding, 1);
  const { unique } = decodeHeader(message);
  t.equal(device.reply(unique, encodeWrite(device.out, 77)), 0);
  t.equal(device.outstanding, 0);
  t.same(peer.receive(), { error: 0, unique: 2n ** 63n + 2n, body: Buffer.concat([u32(77, 0)]) });
  device.replyError(4, constants.errno.ENOENT);
  t.same(peer.receive(), { error: -constants.errno.ENOENT, unique: 4n, body: Buffer.alloc(0) });

  const pages = Buffer.alloc(3 * 8192);
  for (let i = 0; i < pages.length; i++) pages[i] = i % 251;
  const single = new Uint8Array([1, 2, 3, 4, 5]);
  for (const [what, ranges] of [
    ['one small range', [[pages, 5, 100]]],
    ['nothing', []],
    ['one large range', [[pages, 0, 3 * 8192]]],
    [
      'ranges that touch',
      [
        [pages, 0, 8192],
        [pages, 8192, 8192],
      ],
    ],
    [
      'ranges apart',
      [
        [pages, 100, 50],
        [single, 1, 3],
        [pages, 0, 10],
        [single, 0, 0],
      ],
    ],
  ] as [string, [Uint8Array, number, number][]][]) {
    for (const [bytes, start, length] of ranges) device.data.add(bytes, start, length);
    const expected = Buffer.concat(ranges.map(([bytes, start, length]) => bytes.subarray(start, start + length)));
    t.equal(device.data.size, expected.length);
    t.equal(device.replyData(6, encodeWrite(device.out, 1)), 0);
    t.same(peer.receive(), { error: 0, unique: 6n, body: Buffer.concat([u32(1, 0), expected]) }, what);
    t.equal(device.data.size, 0, 'the list is empty again');
  }
  for (let i = 0; i < 1023; i++) device.data.add(pages, 2 * i, 1);
  t.throws(() => device.data.add(pages, 4096, 1), RangeError, 'too many ranges');
  device.data.clear();
  t.throws(() => device.data.add(single, 3, 3), RangeError, 'outside its buffer');
  t.equal(device.notify(2, 0), 0);
  t.match(peer.receive(), { error: 2, unique: 0n });
  device.data.add(pages, 0, 10);
  device.data.add(single, 1, 2);
  const later = device.notifyLater(4, encodeWrite(device.out, 9));
  device.out.bytes.fill(0);
  t.equal(await later, true);
  t.same(peer.receive()?.body, Buffer.concat([u32(9, 0), pages.subarray(0, 10), single.subarray(1, 3)]), 'copied');
  peer.close();
  t.equal(device.receive(message), Receive.GONE);
  device.close();
});

t.test('requests in turn and out of turn, timers meanwhile, an end', async (t) => {
  const { device, peer } = pair();
  let running = 0;
  const held: Message[] = [];
  const loop = new ServeLoop(
    device,
    (message) => {
      const { unique } = decodeHeader(message);
      const { size } = decodeRead(message);
      if (size === 1) {
        // waits for libuv's pool, keeping its message
        message.held = true;
        held.push(message);
        void readFile('/proc/self/stat').then((text) => {
          t.equal(decodeHeader(message).unique, unique, 'a held message is not overwritten');
          device.reply(unique, encodeWrite(device.out, text.length > 0 ? 1 : 0));
          device.give(message);
        });
      } else if (size === 2) {
        // goes on in microtasks
        running++;
        void (async () => {
          for (let i = 0; i < 100; i++) await undefined;
          device.reply(unique, encodeWrite(device.out, 2));
          running--;
        })();
      } else if (size === 3) setTimeout(() => device.reply(unique, encodeWrite(device.out, 3)), 20);
      else device.reply(unique, encodeWrite(device.out, size));
    },
    { running: () => running },
  );
  let ticks = 0;
  const ticker = setInterval(() => ticks++, 5);
  const ended = loop.run();
  const answers = new Map<bigint, number>();
  const collect = async (count: number) => {
    while (answers.size < count) {
      const { unique, body } = await peer.next();
      answers.set(unique, body.readUInt32LE(0));
    }
  };
  const kinds = [3, 1, 2, 9, 1, 1, 2, 2, 3];
  for (const [i, kind] of kinds.entries()) peer.send(readRequest(i + 1, kind));
  await collect(kinds.length);
  t.same(
    kinds.map((_, i) => answers.get(BigInt(i + 1))),
    kinds,
    'every request has its own answer',
  );
  t.ok(held.length >= 3 && new Set(held).size >= 1);
  t.equal(device.outstanding, 0);

  answers.clear();
  for (let i = 0; i < 300; i++) {
    peer.send(readRequest(1000 + i, 4));
    if (i % 50 === 0) await collect(i + 1);
  }
  await collect(300);
  t.pass('several hundred more');
  ticks = 0;
  while (ticks < 20) await new Promise((resolve) => setTimeout(resolve, 1));
  t.pass('timers go on while the loop is idle');
  clearInterval(ticker);
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.pass('and single ones');
  const cpu = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const used = process.cpuUsage(cpu);
  t.ok(used.user + used.system < 100_000, `an idle loop sleeps: ${used.user + used.system} µs in 500 ms`);
  peer.close();
  t.equal(await ended, 'unmounted');
  device.close();
});

t.test('stop, from a handler and from outside', async (t) => {
  for (const inside of [true, false]) {
    const { device, peer } = pair();
    const loop = new ServeLoop(
      device,
      (message) => {
        device.reply(decodeHeader(message).unique, 0);
        if (inside) loop.stop();
      },
      { running: () => 0 },
    );
    const ended = loop.run();
    peer.send(readRequest(1));
    await peer.next();
    if (!inside) setTimeout(() => loop.stop(), 5);
    t.equal(await ended, 'stopped');
    device.close();
    peer.close();
  }
});

t.test('microtasks and ticks that nobody counts still run', async (t) => {
  const { device, peer } = pair();
  const loop = new ServeLoop(
    device,
    (message) => {
      const { unique } = decodeHeader(message);
      process.nextTick(() => void Promise.resolve().then(() => device.reply(unique, 0)));
    },
    { running: () => 0 },
  );
  const ended = loop.run();
  // Of several, because the machine may be busy: one that slept until the loop looks again by itself would always be late.
  let fastest = Number.POSITIVE_INFINITY;
  for (let i = 1; i <= 5; i++) {
    const started = performance.now();
    peer.send(readRequest(i));
    await peer.next();
    fastest = Math.min(fastest, performance.now() - started);
  }
  t.ok(fastest < 200, `soon: ${fastest} ms`);
  peer.close();
  await ended;
  device.close();
});

t.test('a loop that always finds a request lets others live', async (t) => {
  const { device, peer } = pair();
  const requests = 64;
  let ticks = 0;
  const loop = new ServeLoop(
    device,
    (message) => {
      const { unique } = decodeHeader(message);
      const until = performance.now() + 1;
      while (performance.now() < until);
      device.reply(unique, encodeWrite(device.out, ticks));
    },
    { running: () => 0 },
  );
  for (let i = 0; i < requests; i++) peer.send(readRequest(i));
  const ticker = setInterval(() => ticks++, 2);
  const ended = loop.run();
  let last = 0;
  for (let i = 0; i < requests; i++) last = (await peer.next()).body.readUInt32LE(0);
  clearInterval(ticker);
  t.ok(last >= 2, `${last} ticks of a timer in ${requests} ms of requests`);
  peer.close();
  await ended;
  device.close();
});
