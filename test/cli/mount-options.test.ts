/** The options of a mount. */
import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { kernelFlags } from '../../src/cli/kernel-flags.js';
import { parseOptions } from '../../src/cli/mount-options.js';
import { checkSettings } from '../../src/cli/mount-settings.js';
import { mountFlags } from '../../src/fuse/mount-direct.js';

const flagsOf = (...lists: string[]): number => mountFlags(kernelFlags(parseOptions(lists).flags));
const [NOSUID, NODEV, NOEXEC, SYNCHRONOUS, DIRSYNC, NOATIME, NODIRATIME, STRICTATIME] = [
  2,
  4,
  8,
  16,
  128,
  1024,
  2048,
  1 << 24,
];

t.test("the kernel's flags reach mount(2)", async (t) => {
  t.equal(flagsOf('allow_other'), NOSUID | NODEV, 'nothing on a mount is trusted by default');
  t.equal(flagsOf('dev,suid'), 0, 'mount(8) for fuse.latchfs asks for this');
  t.equal(flagsOf('dev,suid', 'nodev'), NODEV, 'the last word counts');
  t.equal(flagsOf('nodev,nosuid,dev,suid'), 0);
  t.equal(flagsOf('suid,dev,noexec'), NOEXEC);
  t.equal(flagsOf('suid,dev,noexec,exec'), 0);
  t.equal(flagsOf('suid,dev,nosymfollow'), 256);
  t.equal(flagsOf('suid,dev,nosymfollow,symfollow'), 0);
  t.equal(flagsOf('suid,dev,sync,dirsync'), SYNCHRONOUS | DIRSYNC);
  t.equal(flagsOf('suid,dev,noatime,nodiratime'), NOATIME | NODIRATIME);
  t.equal(flagsOf('suid,dev,noatime,nodiratime,sync,atime,diratime,async'), 0, 'each has a word that takes it back');
  t.equal(flagsOf('suid,dev,strictatime'), STRICTATIME);
  t.equal(flagsOf('suid,dev,strictatime,nostrictatime'), 0);
  t.equal(flagsOf('defaults,rw,relatime,_netdev,x-systemd.automount'), NOSUID | NODEV, "fstab's words are taken");
});

t.test('quotas', async (t) => {
  t.same(parseOptions(['usrquota,grpquota']).quota, [0, 1]);
  t.same(parseOptions(['prjquota']).quota, [2]);
  t.same(parseOptions(['quota']).quota, [0], 'as for ext4');
  t.same(parseOptions(['grpquota,noquota']).quota, []);
});

t.test('whether what replaces a file is written before', async (t) => {
  t.equal(parseOptions([]).autoDaAlloc, true, 'as for ext4');
  t.equal(parseOptions(['noauto_da_alloc']).autoDaAlloc, false);
  t.equal(parseOptions(['noauto_da_alloc,auto_da_alloc']).autoDaAlloc, true);
});

t.test('commas and backslashes in values', async (t) => {
  t.match(parseOptions(['log=/a\\,b,ro']), { log: '/a,b', readOnly: true }, 'a backslash takes a comma into the value');
  t.match(parseOptions(['fsname=a\\\\,ro']), { fsname: 'a\\', readOnly: true }, 'or a backslash');
  t.match(parseOptions(['fsname=C:\\x\\']), { fsname: 'C:\\x\\' }, 'others are what they are');
  t.match(parseOptions([',ro,,nocontrol,']), { readOnly: true, control: false }, 'what is empty is nothing');
});

t.test('what means nothing for the source', async (t) => {
  const image = join(t.testdir({ image: '' }), 'image');
  truncateSync(image, 1 << 20);
  const check = (source: string, ...lists: string[]): string[] => checkSettings(source, parseOptions(lists), lists);
  t.same(check('memory', 'size=1M,uid=5,gid=6'), []);
  t.same(check('memory:1M', 'size=1024K'), [], 'the same, in other words');
  t.throws(() => check('memory:1M', 'size=2M'), { message: /option size: memory:1M says another size/, status: 2 });
  t.same(check(image, 'size=1M,cache=none'), []);
  t.throws(() => check(image, 'size=2M'), { message: /option size: .* is as large as it is/, status: 2 });
  t.throws(() => check(image, 'uid=0'), { message: /option uid: .*chown/, status: 2 });
  t.throws(() => check(image, 'ro,gid=0'), { message: /option gid: .*chown/, status: 2 });
  t.same(check('memory', 'transport=fuse-native'), []);
  t.match(check('memory', 'transport=fuse-native,cache=auto'), [/option cache: it has no effect/]);
});

t.test('an unknown word is refused', async (t) => {
  t.throws(() => parseOptions(['toString']), { message: /unknown option 'toString'/ });
  t.throws(() => parseOptions(['enforce=never']), { message: /must be one of/ });
});
