/** What a child process does on a mount, so that the kernel asks for as much as it ever asks for. What the kernel or the cache mode does not support may fail. */

import { spawn } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fchmodSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  statfsSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import koffi from 'koffi';
import { AT_FDCWD, F_GETLK, F_SETLK, F_SETLKW, O_TMPFILE } from '../../uapi/fcntl.js';
import { FS_CASEFOLD_FL, RENAME_EXCHANGE } from '../../uapi/fs.js';
import { FIBMAP, FS_IOC_GETFLAGS, FS_IOC_GETVERSION, FS_IOC_SETFLAGS } from '../../uapi/ioctl.js';

const lib = koffi.load(null);
const setxattr = lib.func('setxattr', 'int', ['str', 'str', 'void *', 'size_t', 'int']);
const getxattr = lib.func('getxattr', 'intptr_t', ['str', 'str', 'void *', 'size_t']);
const listxattr = lib.func('listxattr', 'intptr_t', ['str', 'void *', 'size_t']);
const removexattr = lib.func('removexattr', 'int', ['str', 'str']);
const fallocate = lib.func('fallocate', 'int', ['int', 'int', 'int64', 'int64']);
const lseek = lib.func('lseek', 'int64', ['int', 'int64', 'int']);
const flock = lib.func('flock', 'int', ['int', 'int']);
const fcntl = lib.func('fcntl', 'int', ['int', 'int', 'void *']);
const ioctl = lib.func('ioctl', 'int', ['int', 'size_t', 'void *']);
const mknod = lib.func('mknod', 'int', ['str', 'uint', 'size_t']);
const renameat2 = lib.func('renameat2', 'int', ['int', 'str', 'int', 'str', 'uint']);
const copy_file_range = lib.func('copy_file_range', 'intptr_t', ['int', 'void *', 'int', 'void *', 'size_t', 'uint']);
const syncfs = lib.func('syncfs', 'int', ['int']);
const poll = lib.func('poll', 'int', ['void *', 'size_t', 'int']);

process.chdir(process.env['LATCHFS_WORK'] ?? '.');

/** struct flock. @param type 0 for F_RDLCK, 1 for F_WRLCK, 2 for F_UNLCK */
function lock(type: number): Buffer {
  const bytes = Buffer.alloc(32);
  bytes.writeInt16LE(type, 0);
  bytes.writeBigInt64LE(10n, 16);
  return bytes;
}

function names(): void {
  mkdirSync('d');
  writeFileSync('d/f', 'x'.repeat(10_000));
  linkSync('d/f', 'd/l');
  symlinkSync('f', 'd/s');
  readlinkSync('d/s');
  mknod('d/p', 0o010644, 0);
  mknod('d/r', 0o100644, 0);
  renameSync('d/l', 'd/m');
  renameat2(AT_FDCWD, 'd/m', AT_FDCWD, 'd/s', RENAME_EXCHANGE);
  mkdirSync('e');
  renameSync('d/m', 'e/m');
  for (const entry of readdirSync('d', { withFileTypes: true })) statSync(`d/${entry.name}`);
  const dir = openSync('d', 'r');
  fsyncSync(dir);
  syncfs(dir);
  closeSync(dir);
  const nameless = openSync('d', O_TMPFILE | constants.O_RDWR, 0o600);
  writeSync(nameless, 'nameless');
  closeSync(nameless);
  for (const name of ['d/p', 'd/r', 'e/m', 'd/s']) unlinkSync(name);
  rmdirSync('e');
  statfsSync('.');
}

/** A directory whose names are without regard to case. */
function folded(): void {
  mkdirSync('folded');
  existsSync('folded/name');
  const fd = openSync('folded', 'r');
  const flags = Buffer.alloc(8);
  flags.writeUInt32LE(FS_CASEFOLD_FL, 0);
  ioctl(fd, FS_IOC_SETFLAGS, flags);
  closeSync(fd);
  writeFileSync('folded/NAME', 'x');
  statSync('folded/name');
  unlinkSync('folded/Name');
  rmdirSync('folded');
}

function data(): void {
  const fd = openSync('d/f', 'r+');
  readSync(fd, Buffer.alloc(20_000), 0, 20_000, 0);
  writeSync(fd, 'y'.repeat(300_000), 4000);
  fdatasyncSync(fd);
  fsyncSync(fd);
  ftruncateSync(fd, 100_001);
  fallocate(fd, 0, 0, 200_000);
  fallocate(fd, 3, 8192, 8192);
  lseek(fd, 0, 3);
  lseek(fd, 0, 4);
  const copy = openSync('d/copy', 'w+');
  copy_file_range(fd, null, copy, null, 50_000, 0);
  closeSync(copy);
  copyFileSync('d/f', 'd/g');
  const block = Buffer.alloc(4);
  ioctl(fd, FIBMAP, block);
  const polled = Buffer.alloc(8);
  polled.writeInt32LE(fd, 0);
  polled.writeInt16LE(1, 4);
  poll(polled, 1, 0);
  fstatSync(fd);
  closeSync(fd);
  const direct = openSync('d/g', constants.O_RDWR | constants.O_DIRECT);
  closeSync(direct);
  closeSync(openSync('d/g', 'w'));
}

function attributes(): void {
  chmodSync('d/f', 0o600);
  utimesSync('d/f', 5, 6);
  accessSync('d/f');
  if (process.geteuid?.() === 0) chownSync('d/f', 0, 5);
  setxattr('d/f', 'user.a', Buffer.from('value'), 5, 0);
  getxattr('d/f', 'user.a', Buffer.alloc(10), 10);
  getxattr('d/f', 'system.posix_acl_access', Buffer.alloc(100), 100);
  setxattr('d/f', 'trusted.t', Buffer.from('t'), 1, 0);
  listxattr('d/f', Buffer.alloc(100), 100);
  removexattr('d/f', 'user.a');
  const fd = openSync('d/f', 'r');
  const flags = Buffer.alloc(8);
  ioctl(fd, FS_IOC_GETFLAGS, flags);
  flags.writeUInt32LE(0x40, 0);
  ioctl(fd, FS_IOC_SETFLAGS, flags);
  ioctl(fd, FS_IOC_GETVERSION, Buffer.alloc(8));
  fchmodSync(fd, 0o644);
  closeSync(fd);
}

function locks(): void {
  const fd = openSync('d/f', 'r+');
  for (const command of [F_SETLK, F_GETLK, F_SETLKW]) fcntl(fd, command, lock(1));
  fcntl(fd, F_SETLK, lock(2));
  for (const kind of [1, 8, 2, 8]) flock(fd, kind);
  closeSync(fd);
}

function control(): void {
  readFileSync('.latchfs/tasks');
  readdirSync('.latchfs');
  for (const command of ['sync\n', 'drop_caches 3\n', 'freeze\n', 'thaw\n']) writeFileSync('.latchfs/control', command);
  sleepers();
}

/** Somebody waits for the end of a freeze; meanwhile there is a directory about it. */
function sleepers(): void {
  writeFileSync('.latchfs/control', 'freeze\n');
  spawn('touch', ['d/late'], { stdio: 'ignore' });
  const [id] = until(
    () => readdirSync('.latchfs/task'),
    (tasks) => tasks.length > 0,
  );
  readFileSync(`.latchfs/task/${id}/status`);
  writeFileSync('.latchfs/control', 'thaw\n');
  until(
    () => existsSync('d/late'),
    (there) => there,
  );
  existsSync(`.latchfs/task/${id}`);
}

/** Look until it is so, for some seconds at most. */
function until<T>(look: () => T, so: (seen: T) => boolean): T {
  for (let tries = 0; ; tries++) {
    const seen = look();
    if (so(seen) || tries > 500) return seen;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
}

names();
folded();
data();
attributes();
locks();
control();
for (const name of ['d/f', 'd/g', 'd/copy', 'd/late']) unlinkSync(name);
rmdirSync('d');
