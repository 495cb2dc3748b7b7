// Mounts the bare filesystem in a child process, as root and as an ordinary user, and looks at it from here.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open, readdir, stat, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { fusermountError, fusermountOptions, missing } from '../../src/fuse/mount-fusermount.js';
import { MountError } from '../../src/fuse/mount-options.js';
import { abortConnection, connectionOf, health, mountAt, mountFuse, unmountFuse } from '../../src/fuse/wire.js';

const run = promisify(execFile);
const daemon = join(dirname(fileURLToPath(import.meta.url)), 'bare-daemon.js');
const isRoot = process.geteuid?.() === 0;
const deviceMode = (() => {
  try {
    return statSync('/dev/fuse').mode & 0o7777;
  } catch {
    return 0;
  }
})();
const NOBODY = 65534;
const skip = !isRoot ? 'needs root' : deviceMode === 0 ? 'needs /dev/fuse' : false;
const base = mkdtempSync(join(tmpdir(), 'fuse-mount-'));
chmodSync(base, 0o755);

class Daemon {
  readonly child: ChildProcess;
  readonly ready: Promise<string>;
  readonly ended: Promise<string>;
  #text = '';
  constructor(mountpoint: string, args: string[], asUser: boolean) {
    const node = [process.execPath, daemon, mountpoint, ...args];
    const command = asUser ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', ...node] : node;
    this.child = spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
    this.child.stdout?.on('data', (chunk) => {
      this.#text += chunk;
    });
    this.ended = new Promise((resolve) => {
      this.child.on('close', () => resolve(this.#text));
    });
    this.ready = this.says('READY');
  }

  /** All that the daemon has printed, once `word` is among it; or when it ends. */
  async says(word: string): Promise<string> {
    while (!this.#text.includes(word) && this.child.exitCode === null && this.child.signalCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return this.#text;
  }
}

function fresh(name: string): string {
  const path = join(base, name);
  mkdirSync(path);
  return path;
}

async function ownedBy(name: string, owner: number): Promise<string> {
  const path = fresh(name);
  await run('chown', [`${owner}:${owner}`, path]);
  return path;
}

t.teardown(async () => {
  for (const name of ['root', 'user', 'busy', 'dead']) {
    await run('umount', ['-l', join(base, name)]).catch(() => undefined);
  }
  rmSync(base, { recursive: true, force: true });
});

async function inspect(test: Pick<typeof t, 'same' | 'equal' | 'match'>, mountpoint: string): Promise<void> {
  test.same((await readdir(mountpoint)).sort(), ['file']);
  const stats = await stat(join(mountpoint, 'file'));
  test.equal(stats.size, 1 << 30);
  const file = await open(join(mountpoint, 'file'), 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(300_000), 0, 300_000, 1_000_003);
  await file.close();
  test.equal(bytesRead, 300_000);
  const expected = Buffer.alloc(300_000);
  for (let i = 0; i < expected.length; i++) expected[i] = (((i + 1_000_003) % (1 << 20)) * 7) & 0xff;
  test.equal(buffer.compare(expected), 0, 'the bytes read are the bytes served');
  test.equal((await statfs(mountpoint)).ffree, 10);
  test.equal(await health(mountpoint, 1000), 'alive');
}

t.test('as root', { skip }, async (t) => {
  const mountpoint = fresh('root');
  const served = new Daemon(mountpoint, [], false);
  t.match(await served.ready, /READY direct \d+/);
  const info = mountAt(mountpoint);
  t.match(info, { fstype: 'fuse.bare', source: 'bare,loop', options: ['rw', 'nosuid', 'nodev', 'relatime'] });
  await inspect(t, mountpoint);
  served.child.kill('SIGUSR2');
  const notified = await served.says('NOTIFIED');
  for (const kind of ['inval_inode', 'inval_entry', 'store', 'retrieve', 'delete']) {
    t.match(notified, new RegExp(`${kind}=0`), `the kernel takes ${kind}`);
  }
  t.match(notified, /unknown=2 .*store later=true entry later=false/, 'and says what it does not know');
  t.match(await served.says('RETRIEVED'), /RETRIEVED 1152921504606846977 4096 true/, 'what was stored comes back');
  t.throws(() => mountFuse(mountpoint, {}), { code: 'EBUSY', message: /is already mounted on/ });
  const file = await open(join(mountpoint, 'file'), 'r');
  await t.rejects(unmountFuse(mountpoint, false), { code: 'EBUSY', message: /is in use/ });
  await file.close();
  await unmountFuse(mountpoint, false);
  t.match(await served.ended, /unmounted after/);
  t.equal(mountAt(mountpoint), undefined);
  await t.rejects(unmountFuse(mountpoint, false), { code: 'EINVAL', message: /nothing is mounted/ });
});

t.test('as an ordinary user', { skip }, async (t) => {
  chmodSync('/dev/fuse', 0o600);
  try {
    const mountpoint = await ownedBy('user', NOBODY);
    t.match(await new Daemon(mountpoint, [], true).ended, /^EACCES: \/dev\/fuse may not be opened.*chmod 666/);
    chmodSync('/dev/fuse', 0o666);
    const foreign = fresh('foreign');
    t.match(await new Daemon(foreign, [], true).ended, /does not belong to this user|no write access/);
    const served = new Daemon(mountpoint, [], true);
    const said = await served.ready;
    t.match(said, /READY fusermount \d+/);
    t.match(mountAt(mountpoint), { fstype: 'fuse.bare', source: 'bare,loop' });
    const { stdout } = await run(
      'setpriv',
      [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', 'head', '-c', '8', join(mountpoint, 'file')],
      { encoding: 'buffer' },
    );
    t.same([...stdout], [0, 7, 14, 21, 28, 35, 42, 49]);
    await t.rejects(stat(join(mountpoint, 'file')), { code: 'EACCES' }, 'not even root is let in without allow_other');
    served.child.kill('SIGTERM');
    t.match(await served.ended, /unmounted after/, 'the daemon unmounts itself with fusermount3');
    t.equal(mountAt(mountpoint), undefined);
  } finally {
    chmodSync('/dev/fuse', deviceMode);
  }
});

t.test('a daemon killed, a connection aborted', { skip }, async (t) => {
  const mountpoint = fresh('dead');
  const killed = new Daemon(mountpoint, [], false);
  await killed.ready;
  killed.child.kill('SIGKILL');
  await killed.ended;
  t.equal(await health(mountpoint, 1000), 'dead');
  t.throws(() => mountFuse(mountpoint, {}), { code: 'ENOTCONN', message: /a dead mount was left/ });
  await unmountFuse(mountpoint, true);

  const aborted = new Daemon(mountpoint, [], false);
  await aborted.ready;
  const info = mountAt(mountpoint);
  if (info === undefined) throw new Error('not mounted');
  if (abortConnection(connectionOf(info))) t.match(await aborted.ended, /unmounted after/);
  else aborted.child.kill('SIGKILL');
  await aborted.ended;
  await unmountFuse(mountpoint, true);
});

t.test('mount points that will not do', async (t) => {
  const absent = join(base, 'absent');
  t.throws(() => mountFuse(absent, {}), {
    code: 'ENOENT',
    message: `mount point ${absent} does not exist: mkdir ${absent}`,
  });
  const file = join(base, 'file');
  writeFileSync(file, '');
  t.throws(() => mountFuse(file, {}), { code: 'ENOTDIR' });
  const full = fresh('full');
  writeFileSync(join(full, 'x'), '');
  t.throws(() => mountFuse(full, {}), { code: 'ENOTEMPTY', message: /-o nonempty/ });
  t.throws(() => mountFuse('/dev/fd/987', {}), { code: 'EBADF' });
  t.throws(() => mountFuse('/dev/fd/0', {}), { code: 'ENODEV' });
  t.throws(() => mountFuse(absent, {}), MountError);
});

t.test("fusermount3's words, in one line", async (t) => {
  t.equal(
    fusermountOptions({
      fsname: 'a,b\\c',
      subtype: 'x',
      allowOther: true,
      defaultPermissions: true,
      readOnly: true,
      maxRead: 4096,
    }),
    'ro,nosuid,nodev,fsname=a\\,b\\\\c,subtype=x,allow_other,default_permissions,max_read=4096',
  );
  const cases: [string, string, RegExp][] = [
    [
      "fusermount3: option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf\n",
      'EPERM',
      /add the line user_allow_other/,
    ],
    ['fusermount3: user has no write access to mountpoint /m\n', 'EPERM', /does not belong to this user/],
    ['fusermount3: mountpoint /m not owned by user\n', 'EPERM', /does not belong/],
    ['fusermount3: mount failed: Operation not permitted\n', 'EPERM', /chmod u\+s/],
    ['fusermount3: fuse device /dev/fuse not found. Kernel module not loaded?\n', 'ENOENT', /modprobe fuse/],
    ['fusermount3: too many FUSE filesystems mounted; mount_max=N can be set\n', 'EMFILE', /mount_max/],
    ['fusermount3: something else\nmore\n', 'EIO', /could not mount on \/m: something else$/],
    ['', 'EIO', /it said nothing/],
  ];
  for (const [said, code, message] of cases) {
    const error = fusermountError(said, '/m');
    t.equal(error.code, code, said);
    t.match(error.message, message);
    t.notMatch(error.message, /\n/);
  }
  t.match(missing('ENOENT').message, /apt-get install fuse3/);
});
