/** Runs a script of test/mount/work on a mount in the three ways in which people use one: as root, as an ordinary user, and on the user's own mount. */
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { apart, type Mounted, mount, type Ran, root, run } from './harness.js';

/** nobody: fusermount3 wants a name for its user. */
const USER = 65534;
/** The scripts, where everybody can read them: a checkout may be in a directory of root's. */
const WORK = mkdtempSync(join(tmpdir(), 'latchfs-work-'));
cpSync(join(root, 'test/mount/work'), WORK, { recursive: true });
chmodSync(WORK, 0o755);
t.teardown(() => rmSync(WORK, { recursive: true, force: true }));
/** Milliseconds for one script: far more than it takes, also on a machine that has other things to do. */
const PATIENCE = 600_000;
const asUser = ['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--clear-groups'];

export const needsRoot = process.getuid?.() !== 0 ? 'it mounts as root, and acts as other users' : false;

/** Why `command` cannot be run: for tests of tools that may be missing. */
export async function lacking(...commands: string[]): Promise<string | false> {
  for (const command of commands) {
    if ((await run('sh', ['-c', `command -v ${command}`])).status !== 0) return `there is no ${command}`;
  }
  return false;
}

function script(name: string): string[] {
  return ['bash', '-euo', 'pipefail', join(WORK, `${name}.sh`)];
}

function passed(t: Test, ran: Ran, what: string): void {
  const said = `${ran.stdout.slice(-1500)}${ran.stderr.slice(-1500)}`;
  t.equal(ran.status, 0, ran.status === 0 ? what : `${what}: ${said}`);
}

/** The log of a mount on which only right things were done. */
export function unblemished(t: Test, mounted: Mounted): void {
  t.notMatch(mounted.log(), /locking violation/, 'no lock rule was broken');
  t.notMatch(mounted.log(), /"level":50/, 'nothing failed inside');
}

async function on(mounted: Mounted, name: string, user: boolean): Promise<Ran> {
  const dir = join(mounted.dir, user ? 'of-user' : 'of-root');
  const made = await run('install', ['-d', '-o', user ? String(USER) : '0', dir]);
  if (made.status !== 0) return made;
  const command = [...(user ? asUser : []), 'env', `WORK=${WORK}`, `HOME=${dir}`, ...script(name)];
  return run(command[0] ?? '', command.slice(1), { cwd: dir, timeout: PATIENCE });
}

/**
 * A mount of its own of an ordinary user, through fusermount3, in a mount namespace in which /dev/fuse is open to everybody (as distributions have it)
 * and the checkout can be reached (a home directory of root's cannot).
 */
async function ownMount(name: string): Promise<Ran> {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-own-'));
  chmodSync(scratch, 0o755);
  for (const each of ['mnt', 'repo', 'node']) mkdirSync(join(scratch, each));
  chownSync(join(scratch, 'mnt'), USER, USER);
  const inside = `
    cd /; export HOME=/tmp WORK=${scratch}/repo/test/mount/work PATH=${scratch}/node/bin:$PATH
    latchfs=${scratch}/repo/scripts/latchfs mnt=${scratch}/mnt
    $latchfs mount memory:1G $mnt
    trap 'cd /; $latchfs umount $mnt || fusermount3 -uz $mnt' EXIT
    [ "$(stat -c %u $mnt)" = ${USER} ]
    cd $mnt; timeout -k 5 ${PATIENCE / 1000 - 100} bash -euo pipefail $WORK/${name}.sh`;
  const outside = `
    mount --bind ${root} ${scratch}/repo; mount --bind ${dirname(dirname(process.execPath))} ${scratch}/node
    if [ $(( 0$(stat -c %a /dev/fuse) & 6 )) != 6 ]; then
      mount -t tmpfs -o mode=755,dev dev ${scratch}/repo/mnt; mknod -m 666 ${scratch}/repo/mnt/fuse c 10 229
      mount --bind ${scratch}/repo/mnt/fuse /dev/fuse
    fi
    exec ${asUser.join(' ')} bash -euo pipefail -c "$1"`;
  const [command, ...args] = apart(scratch, outside, inside);
  try {
    return await run(command, args, { timeout: PATIENCE });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The tests of one script: three mounts, or rather two, the first one used by root and by somebody else. */
export async function worksForAll(name: string, what: string, needs: string[], options = 'allow_other'): Promise<void> {
  t.setTimeout(3 * PATIENCE);
  const skip = needsRoot || (await lacking(...needs, 'setpriv', 'unshare'));
  await t.test(what, { skip, timeout: 3 * PATIENCE }, async (t) => {
    const mounted = await mount('memory:2G', options);
    try {
      passed(t, await on(mounted, name, false), 'as root');
      passed(t, await on(mounted, name, true), 'as an ordinary user');
      unblemished(t, mounted);
    } finally {
      t.equal(await mounted.unmount(), 0, 'it unmounts cleanly and ends with status 0');
    }
    const noFusermount = await lacking('fusermount3');
    if (noFusermount) t.pass('not on a mount of the user', { skip: noFusermount });
    else passed(t, await ownMount(name), "on the user's own mount");
  });
}
