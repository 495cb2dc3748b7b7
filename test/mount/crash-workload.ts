/**
 * A busy process on a mount, until it fails because the daemon is gone: creates, writes with and without fsync, through the cache and past it, renames, unlinks, truncates, fallocate. Run as
 * `node crash-workload.js DIRECTORY LOG SEED`. Before it changes a file it says so in the log, which lies outside of the mount, and after an fsync it
 * says what the file holds: `touch NAME` and `sync NAME SHA256`.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  constants,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

const [dir = '', log = '', seed = '1'] = process.argv.slice(2);
let state = Number(seed) >>> 0;

function choose(n: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * n);
}

const say = (line: string): void => appendFileSync(log, `${line}\n`);
const names: string[] = [];
let next = 0;

function sync(name: string, fd: number): void {
  if (choose(2) === 0) fsyncSync(fd);
  else fdatasyncSync(fd);
  say(
    `sync ${name} ${createHash('sha256')
      .update(readFileSync(join(dir, name)))
      .digest('hex')}`,
  );
}

function write(name: string): void {
  say(`touch ${name}`);
  // FUSE wants no alignment of a direct write; one of whole sectors goes to the device at once.
  const direct = choose(3) === 0;
  const fd = openSync(join(dir, name), direct ? constants.O_RDWR | constants.O_DIRECT : 'r+');
  const grain = direct ? ([1, 512, 4096][choose(3)] ?? 1) : 1;
  try {
    for (let i = choose(4); i >= 0; i--) {
      const length = Math.ceil(((choose(3) === 0 ? choose(200_000) : choose(5000)) + 1) / grain) * grain;
      writeSync(fd, Buffer.alloc(length, choose(256)), 0, length, choose(100_000 / grain) * grain);
    }
    if (choose(3) === 0) ftruncateSync(fd, choose(150_000));
    if (choose(2) === 0) sync(name, fd);
  } finally {
    closeSync(fd);
  }
}

function step(): void {
  const at = choose(Math.max(1, names.length));
  const name = names[at];
  const what = choose(100);
  if (name === undefined || (what < 25 && names.length < 60)) {
    const fresh = `f${seed}-${next++}`;
    say(`touch ${fresh}`);
    closeSync(openSync(join(dir, fresh), 'wx'));
    names.push(fresh);
  } else if (what < 75) write(name);
  else if (what < 85) {
    say(`touch ${name}`);
    names.splice(at, 1);
    unlinkSync(join(dir, name));
  } else if (what < 95) {
    const target = choose(2) === 0 ? `f${seed}-${next++}` : (names[choose(names.length)] ?? name);
    if (target === name) return;
    say(`touch ${name}`);
    say(`touch ${target}`);
    renameSync(join(dir, name), join(dir, target));
    names.splice(at, 1);
    if (!names.includes(target)) names.push(target);
  } else {
    say(`touch ${name}`);
    execFileSync('fallocate', ['-n', '-o', `${choose(100_000)}`, '-l', `${choose(100_000) + 1}`, join(dir, name)], {
      stdio: 'ignore',
    });
  }
}

try {
  for (;;) step();
} catch (error) {
  say(`end ${String(error).split('\n')[0]}`);
}
