/** Mounts that map identities (MOUNT_ATTR_IDMAP): the kernel then names the caller only of what is made, and of what is made says whose it is. */
import t from 'tap';
import { apart, onTmpfs, run, withMount } from './harness.js';
import { lacking, needsRoot, unblemished } from './users.js';

/** Mounts $1 on $2 so that what belongs to the user and the group $3 is shown as, and is used by, $4. Ends with 77 where the kernel cannot. */
const IDMAPPED = `
import ctypes, os, struct, sys
source, target, inside, outside = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    result = libc.syscall(number, *args)
    if result < 0: sys.exit(f'{number}: {os.strerror(ctypes.get_errno())}' if number != 442 or ctypes.get_errno() != 22 else 77)
    return result
ready, waits = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    libc.unshare(0x10000000)
    os.write(ready[1], b'x')
    os.read(waits[0], 1)
    os._exit(0)
os.read(ready[0], 1)
for ids in 'uid', 'gid':
    with open(f'/proc/{child}/{ids}_map', 'w') as f: f.write(f'{inside} {outside} 1')
users = os.open(f'/proc/{child}/ns/user', os.O_RDONLY)
os.write(waits[1], b'x')
os.waitpid(child, 0)
tree = call(428, -100, source.encode(), 1)
call(442, tree, b'', 0x1000, struct.pack('QQQQ', 0x100000, 0, 0, users), 32)
call(429, tree, b'', -100, target.encode(), 4)
`;

/** What a user does to files that are his by the mapping. It runs in the idmapped mount. */
const HIS_WORK = `
mkdir d; echo hi > f; ln -s f l; ln f h; mkfifo p
stat -c '%n %u:%g %a %h' d f h l p
touch f; chmod 640 f; truncate -s 100 f; mv f g; chown 65001:65001 g; stat -c '%n %u:%g %a %s' g
setfattr -n user.a -v 1 g; getfattr -n user.a --only-values g; echo
setfacl -m u:65001:rw,g:65001:r g; getfacl -nc g
chattr +d g; lsattr g
chmod 1777 d; setfattr -n user.b -v 2 d; getfattr -n user.b --only-values d; echo
chmod 4755 g; echo more >> g; stat -c '%n %a' g
chmod 2755 d; mkdir d/e; stat -c '%n %a %u:%g' d/e
dd if=g iflag=noatime of=/dev/null status=none
perl -e 'sysopen(F, ".", 020200002, 0600) or die $!; print((stat F)[4], "\\n")'
chattr +i g || echo 'not immutable'
rm -r d p; ls
`;

/** What others do: root, whom the mapping does not know; a user who is somebody else there; and the owner outside of the mapping. */
const OTHERS_WORK = `
touch made || echo 'nobody there'; echo root >> g; tail -n 1 g
chattr +i g; lsattr g; chattr -i g
$other chattr +d g || echo 'not his'
$other chmod 777 g || echo 'not his'
$other bash -c 'echo > g' || echo 'not for him'
setfattr -n trusted.t -v 3 g; getfattr -n trusted.t --only-values g; echo
cd "$1/home"; stat -c '%n %u:%g' g
`;

/** The script for a mount: $1, with the program to map it as $2. */
const SCRIPT = `
cd /; mkdir -m 755 "$1/home" "$1/at"; chown 1001:1001 "$1/home"
user='setpriv --reuid 65001 --regid 65001 --clear-groups' other='setpriv --reuid 65002 --regid 65002 --clear-groups'
at=$(mktemp -d); trap 'cd /; umount -l "$at" 2>/dev/null; rmdir "$at"' EXIT
chmod 755 "$at"; python3 -c "$2" "$1" "$at" 1001 65001
cd "$at/home"; $user bash -uc '${HIS_WORK.replaceAll("'", "'\\''")}' 2>/dev/null
${OTHERS_WORK}
`;

t.setTimeout(600_000);
const NO_MAPPING = 77;
const skip = needsRoot || (await lacking('python3', 'setpriv', 'unshare', 'setfacl', 'setfattr', 'chattr', 'perl'));

for (const cache of ['none', 'auto', 'always']) {
  t.test(`as on tmpfs, with cache=${cache}`, { skip }, async (t) => {
    const model = await onTmpfs();
    if (model === undefined) throw new Error('root can mount a tmpfs');
    try {
      const [unshare, ...onModel] = apart(model.dir, SCRIPT, model.dir, IDMAPPED);
      const expected = await run(unshare, onModel);
      if (expected.status === NO_MAPPING)
        return void t.pass('', { skip: 'tmpfs cannot map identities before Linux 6.3' });
      t.match(expected.stdout, /^d 65001:65001 755 2\n[\s\S]*\ng 1001:1001\n$/, 'the script does what it should');
      await withMount('memory:64M', `allow_other,idmap,enforce=error,cache=${cache}`, async (m) => {
        const [command, ...args] = apart(m.dir, SCRIPT, m.dir, IDMAPPED);
        const ran = await run(command, args);
        if (ran.status === NO_MAPPING) return void t.pass('', { skip: 'FUSE cannot map identities before Linux 6.12' });
        t.equal(ran.stdout, expected.stdout, ran.stderr.slice(-1000));
        t.equal(ran.status, expected.status, 'to the end');
        unblemished(t, m);
      });
    } finally {
      await model.remove();
    }
  });
}

t.test('whom a mapping makes root has the limits of the user that he is', { skip }, async (t) => {
  const script = `
    at=$(mktemp -d); trap 'umount -l "$at" 2>/dev/null; rmdir "$at"' EXIT
    chmod 755 "$at"; python3 -c "$2" "$1" "$at" 0 65001
    user='setpriv --reuid 65001 --regid 65001 --clear-groups'
    $user dd if=/dev/zero of="$at/a" bs=64k count=32 conv=fsync status=none || echo 'no more'
    stat -c '%u %s' "$1/a"
    dd if=/dev/zero of="$1/a" bs=64k count=32 conv=fsync status=none; stat -c '%s' "$1/a"
    $user fstrim "$at" || echo 'not trimmed'`;
  await withMount('memory:64M', 'allow_other,idmap,usrquota', async (m) => {
    await m.sh('echo "user 0 blocks 0 1M inodes 0 0" > .latchfs/quota');
    const [command, ...args] = apart(m.dir, script, m.dir, IDMAPPED);
    const ran = await run(command, args);
    if (ran.status === NO_MAPPING) return void t.pass('', { skip: 'FUSE cannot map identities before Linux 6.12' });
    t.equal(ran.stdout, 'no more\n0 1048576\n2097152\nnot trimmed\n', ran.stderr);
    unblemished(t, m);
  });
});

t.test('whom a mapping makes root does not get the control directory by that', { skip }, async (t) => {
  const script = `
    at=$(mktemp -d); trap 'umount -l "$at" 2>/dev/null; rmdir "$at"' EXIT
    chmod 755 "$at"; python3 -c "$2" "$1" "$at" 0 65001
    user='setpriv --reuid 65001 --regid 65001 --clear-groups'
    for file in control violations quota mounts; do $user cat "$at/.latchfs/$file" > /dev/null || echo "not $file"; done
    $user bash -c 'echo enforce off > "$1/.latchfs/control"' _ "$at" || echo 'not obeyed'
    echo enforce error > "$at/.latchfs/control"; head -n 1 "$at/.latchfs/control"
    stat -c '%u %a' "$at/.latchfs" "$1/.latchfs"`;
  await withMount('memory:64M', 'allow_other,idmap', async (m) => {
    const [command, ...args] = apart(m.dir, script, m.dir, IDMAPPED);
    const ran = await run(command, args);
    if (ran.status === NO_MAPPING) return void t.pass('', { skip: 'FUSE cannot map identities before Linux 6.12' });
    const refusals = 'not control\nnot violations\nnot quota\nnot mounts\nnot obeyed\n';
    t.equal(ran.stdout, `${refusals}enforce error\n65001 700\n0 700\n`, ran.stderr);
    unblemished(t, m);
  });
});

t.test('an overlay on it works by its own rights, whoever uses it', { skip }, async (t) => {
  const script = `
    cd "$1"; mkdir lower upper work merged; mkdir -m 777 lower/d; echo old > lower/d/f; touch lower/d/g; chmod 666 lower/d/*
    mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
    setpriv --reuid 65001 --regid 65001 --clear-groups bash -uc 'cd merged/d; echo new >> f; rm g; mkdir e; mv e h; ls; cat f' || true
    umount merged; cat upper/d/f; stat -c %t,%T,%F upper/d/g; getfattr -n trusted.overlay.origin upper/d > /dev/null && echo marked`;
  await withMount('memory:64M', 'allow_other,idmap', async (m) => {
    const [command, ...args] = apart(m.dir, script, m.dir);
    const ran = await run(command, args);
    t.equal(ran.stdout, 'f\nh\nold\nnew\nold\nnew\n0,0,character special file\nmarked\n', ran.stderr);
    unblemished(t, m);
  });
});

t.test('without the option, nothing is mapped', { skip }, async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    const [command, ...args] = apart(
      m.dir,
      'at=$(mktemp -d); trap \'rmdir "$at"\' EXIT; python3 -c "$2" "$1" "$at" 1 2',
      m.dir,
      IDMAPPED,
    );
    t.equal((await run(command, args)).status, NO_MAPPING);
  });
});
