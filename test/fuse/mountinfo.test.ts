import t from 'tap';
import { connectionOf, isFuse, mounts, parseMountinfo } from '../../src/fuse/mountinfo.js';

t.test('lines of every shape', async (t) => {
  const text = [
    '22 1 254:0 / / rw,relatime - ext4 /dev/root rw,errors=remount-ro',
    '42 22 0:39 / /mnt/a\\040b\\011c\\134d rw,nosuid,nodev shared:3 master:1 - fuse.bare bare\\040loop rw,user_id=0',
    '43 22 0:40 /sub /mnt/\xc3\xa9 ro - fuse /dev/fuse rw',
    'garbage',
    '',
  ].join('\n');
  const [root, bare, other, ...rest] = parseMountinfo(text);
  t.same(rest, []);
  t.match(root, { id: 22, parent: 1, major: 254, minor: 0, mountpoint: '/', fstype: 'ext4', source: '/dev/root' });
  t.match(bare, {
    mountpoint: '/mnt/a b\tc\\d',
    source: 'bare loop',
    options: ['rw', 'nosuid', 'nodev'],
    superOptions: ['rw', 'user_id=0'],
  });
  t.match(other, { root: '/sub', mountpoint: '/mnt/\u00e9' });
  t.same(
    [root, bare, other].map((mount) => mount !== undefined && isFuse(mount)),
    [false, true, true],
  );
  t.equal(bare && connectionOf(bare), 39);
});

t.test("this machine's own", async (t) => {
  t.ok(mounts().some((mount) => mount.mountpoint === '/'));
});
