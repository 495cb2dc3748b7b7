/** The ways to a mount: fusermount3 as an ordinary user, a descriptor that somebody else mounted, mount(8) and fstab, the background. */
import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { mountAt } from '../../src/fuse/mountinfo.js';
import { apart, latchfs, root, run, sh } from './harness.js';

const skip = process.geteuid?.() === 0 ? false : 'needs root';
const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'env', 'HOME=/tmp'];
const scratch = mkdtempSync(join(tmpdir(), 'latchfs-ways-'));
chmodSync(scratch, 0o755);

function fresh(name: string, owner = 0): string {
  const dir = join(scratch, name);
  mkdirSync(dir);
  chownSync(dir, owner, owner);
  return dir;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The daemon's process, by its command line. */
async function daemonOf(dir: string): Promise<number> {
  const found = await run('pgrep', ['-f', `main.js mount .*${dir}`]);
  return Number(found.stdout.trim().split('\n')[0] ?? 0);
}

async function gone(pid: number): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await pause(20);
  }
  throw new Error(`process ${pid} does not end`);
}

t.teardown(async () => {
  for (const name of ['user', 'passed', 'eight', 'fstab', 'background', 'clone', 'interrupted', 'logged']) {
    await run('umount', ['-l', join(scratch, name)]);
  }
  await run('rm', ['-rf', scratch]);
});

t.test('an ordinary user mounts, uses, unmounts', { skip }, async (t) => {
  const mode = statSync('/dev/fuse').mode & 0o7777;
  const dir = fresh('user', 65534);
  chmodSync('/dev/fuse', 0o666);
  try {
    const as = (script: string) => run('setpriv', [...NOBODY.slice(1), 'bash', '-euc', script], { cwd: '/' });
    t.same(await as(`${latchfs} mount memory:64M ${dir}`), { status: 0, stdout: '', stderr: '' });
    t.match(mountAt(dir), { fstype: 'fuse.latchfs', source: 'memory:64M' });
    const used = await as(`cd ${dir}; echo hi > a; mkdir d; mv a d/; cat d/a; stat -c %u d; ls -la > /dev/null`);
    t.equal(used.stdout, 'hi\n65534\n', used.stderr);
    t.not((await run('ls', [dir])).status, 0, 'others are kept out, root too');
    const pid = await daemonOf(dir);
    t.same(await as(`${latchfs} umount ${dir}`), { status: 0, stdout: '', stderr: '' });
    t.equal((await run(latchfs, ['mount', 'memory:16M', dir, '-o', 'allow_other'])).status, 0);
    t.match((await as(`${latchfs} umount ${dir}`)).stderr, /^latchfs: \S+ was mounted by another user: .*\n$/);
    t.equal((await run('umount', [dir])).status, 0);
    await gone(pid);
    t.same(await as(`${latchfs} mount memory:64M ${dir}`), { status: 0, stdout: '', stderr: '' });
    const killed = await daemonOf(dir);
    process.kill(killed, 'SIGKILL');
    await gone(killed);
    t.same(await as(`${latchfs} umount ${dir}`), { status: 0, stdout: '', stderr: '' }, 'also what a killed one left');
    t.equal(mountAt(dir), undefined);
  } finally {
    chmodSync('/dev/fuse', mode);
  }
});

t.test('a descriptor that root mounted serves a user without privileges', { skip }, async (t) => {
  const dir = fresh('passed');
  const script = `
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open('/dev/fuse', os.O_RDWR)
data = f'fd={fd},rootmode=40000,user_id=65534,group_id=65534,default_permissions,allow_other'
if libc.mount(b'memory', sys.argv[1].encode(), b'fuse.latchfs', 0, data.encode()) != 0: raise OSError(ctypes.get_errno())
def drop():
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
done = subprocess.run([sys.argv[2], 'mount', 'memory:64M', f'/dev/fd/{fd}'], pass_fds=[fd], preexec_fn=drop, capture_output=True, text=True)
os.close(fd)
sys.stdout.write(done.stdout + done.stderr)
sys.exit(done.returncode)
`;
  const ran = await run('python3', ['-c', script, dir, latchfs]);
  t.same(ran, { status: 0, stdout: '', stderr: '' });
  t.equal((await sh(`cd ${dir} && su -s /bin/sh nobody -c 'echo x > f && cat f'`)).stdout, 'x\n');
  const found = await run('pgrep', ['-f', 'main.js mount memory:64M /dev/fd/']);
  const pid = Number(found.stdout.trim());
  t.equal(readFileSync(`/proc/${pid}/status`, 'utf8').match(/Uid:\s+(\d+)/)?.[1], '65534');
  t.equal((await run('umount', [dir])).status, 0);
  await gone(pid);
});

t.test('mount(8), remount and fstab', { skip }, async (t) => {
  const helper = '/sbin/mount.fuse.latchfs';
  const staged = join(scratch, 'staged');
  const installed = await run('make', ['-C', root, 'install', `DESTDIR=${staged}`, 'PREFIX=/usr', '-o', 'build']);
  t.equal(installed.status, 0, installed.stderr);
  t.equal((await run(join(staged, 'usr/bin/latchfs'), ['--version'])).status, 0, 'what is installed runs');
  t.equal((await run('readlink', [join(staged, helper)])).stdout, '/usr/lib/latchfs/scripts/mount.fuse.latchfs\n');
  const checker = await run('readlink', [join(staged, 'sbin/fsck.latchfs')]);
  t.equal(checker.stdout, '/usr/lib/latchfs/scripts/fsck.latchfs\n');
  t.ok(existsSync(join(staged, 'usr/lib/latchfs/scripts/fsck.latchfs')));
  // Where one is installed on this machine, it is put back afterwards.
  const before = `${helper}.before-test`;
  const had = existsSync(helper);
  if (had) renameSync(helper, before);
  t.teardown(() => (had ? renameSync(before, helper) : unlinkSync(helper)));
  symlinkSync(join(staged, 'usr/lib/latchfs/scripts/mount.fuse.latchfs'), helper);
  const dir = fresh('eight');
  const silent = { status: 0, stdout: '', stderr: '' };
  const image = join(scratch, 'odd,name=1.img');
  t.equal((await run(latchfs, ['mkfs', image, '--size', '16M'])).status, 0);
  const generic = 'rw,noatime,allow_other,default_permissions,subtype=';
  t.same(await run('mount', ['-t', 'fuse.latchfs', '-o', generic, image, dir]), silent);
  t.match(mountAt(dir), {
    fstype: /^fuse(blk)?$/,
    source: /^\/dev\/loop\d+$|odd,name=1.img$/,
    options: ['rw', 'noatime'],
  });
  t.equal((await sh(`echo kept > ${dir}/f`)).status, 0);
  t.same(await run('mount', ['-t', 'fuse.latchfs', '-o', 'remount,ro', image, dir]), silent);
  t.match((await sh(`echo more > ${dir}/f`)).stderr, /Read-only file system/);
  t.same(await run('umount', [image]), silent, 'it is found by its source');
  t.same(await sh(`cd ${scratch}; mount -t fuse.latchfs -o noblkdev 'odd,name=1.img' ${dir}`), silent);
  t.match(mountAt(dir), { source: image }, 'a relative name is shown whole');
  t.equal((await sh(`echo written before > ${dir}/g; mount -o remount,ro ${dir}`)).status, 0);
  t.ok(readFileSync(image).includes('written before\n'), 'what is read-only has been written');
  t.same(await run('umount', [dir]), silent);
  t.same(await run('mount', ['-t', 'fuse.latchfs', '-o', 'ro', image, dir]), silent);
  t.equal((await run('cat', [join(dir, 'f')])).stdout, 'kept\n', 'what was written is there after the cycle');
  t.same(await run('umount', [dir]), silent);
  const failed = await run('mount', ['-t', 'fuse.latchfs', join(scratch, 'absent'), dir]);
  t.not(failed.status, 0);
  t.match(failed.stderr, /absent: there is no such image/);
  const line = `memory:32M ${fresh('fstab')} fuse.latchfs defaults,noauto,nofail,x-test,user,nodev 0 0\n`;
  t.same(await sh(`printf '%s' '${line}' > ${scratch}/tab; mount -T ${scratch}/tab ${scratch}/fstab`), silent);
  t.match(mountAt(join(scratch, 'fstab')), { fstype: 'fuse.latchfs', source: 'memory:32M' });
  t.same(await run('umount', [join(scratch, 'fstab')]), silent);
});

t.test('a daemon ends at a signal, also where a clone of its mount lives on elsewhere', { skip }, async (t) => {
  const dir = fresh('background');
  t.equal((await run(latchfs, ['mount', 'memory:32M', dir], { cwd: scratch })).status, 0);
  const pid = await daemonOf(dir);
  t.equal((await run('readlink', [`/proc/${pid}/cwd`])).stdout, '/\n', 'it keeps no directory busy');
  process.kill(pid, 'SIGTERM');
  await gone(pid);
  t.equal(mountAt(dir), undefined);
  const cloned = fresh('clone');
  t.equal((await run(latchfs, ['mount', 'memory:32M', cloned])).status, 0);
  const other = await daemonOf(cloned);
  // A mount namespace of its own, private, holds a clone and a file open in it.
  const [command, ...args] = apart(cloned, `exec 3>${cloned}/f; exec sleep 60`);
  const holder = spawn(command, args, { stdio: 'ignore' });
  t.teardown(() => holder.kill());
  for (let i = 0; i < 500 && !(await sh(`ls ${cloned}`)).stdout.includes('f'); i++) await pause(10);
  process.kill(other, 'SIGINT');
  await gone(other);
  t.equal(mountAt(cloned), undefined);
  t.equal(holder.exitCode, null, 'while the clone is still held');
});

t.test('who interrupts a mount before it is live has none afterwards', { skip }, async (t) => {
  const dir = fresh('interrupted');
  const starter = spawn(latchfs, ['mount', 'memory:32M', dir], { stdio: 'ignore' });
  const processes = async (): Promise<number[]> =>
    (await run('pgrep', ['-f', `main.js mount .*${dir}`])).stdout.split('\n').filter(Boolean).map(Number);
  let found = await processes();
  for (let i = 0; i < 1000 && found.length < 2; i++) found = await processes();
  t.equal(found.length, 2, 'there is a daemon');
  starter.kill('SIGINT');
  for (const pid of found) await gone(pid);
  t.equal(mountAt(dir), undefined);
});

t.test('a log that is named within the current directory is opened anew there', { skip }, async (t) => {
  const dir = fresh('logged');
  const log = join(scratch, 'relative.log');
  t.equal((await run(latchfs, ['mount', 'memory:32M', dir, '--log', 'relative.log'], { cwd: scratch })).status, 0);
  const pid = await daemonOf(dir);
  renameSync(log, `${log}.1`);
  process.kill(pid, 'SIGUSR1');
  for (let i = 0; i < 500 && !existsSync(log); i++) await pause(20);
  t.equal((await run('umount', [dir])).status, 0);
  await gone(pid);
  t.match(readFileSync(log, 'utf8'), /unmounted/);
  t.match(readFileSync(`${log}.1`, 'utf8'), /is mounted on/);
});
