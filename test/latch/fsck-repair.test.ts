/** What comes of a repair: what is kept, where it is found, and what is not touched. */
import t, { type Test } from 'tap';
import { vfs_getxattr, vfs_listxattr } from '../../src/fs/xattr.js';
import { Node } from '../../src/latch/btree/node.js';
import { extent_format } from '../../src/latch/extents.js';
import { areaOf, EXTENT_SIZE, encodeExtent } from '../../src/latch/format/inode.js';
import { BLOCK_BITMAP, BLOCK_SIZE, INODE_BITMAP, ROOT_INO } from '../../src/latch/format/layout.js';
import { COMPAT_COPY, copyBlock } from '../../src/latch/format/superblock.js';
import { NODE_HEAD } from '../../src/latch/format/tree.js';
import { fsck } from '../../src/latch/fsck/fsck.js';
import { machine } from './journal/crash-device.js';
import { firstExtent, firstNode, flip, Victim } from './victim.js';
import { freshImage, problemsOf, type Repaired, repaired, World } from './world.js';

const SIZE = 8 << 20;

interface Known {
  readonly image: Buffer;
  readonly ino: (path: string) => number;
}

function content(path: string, bytes = 20_000): Buffer {
  return Buffer.alloc(bytes, path);
}

/** Files with their own path as content, a directory with nodes, attributes, links. */
async function sound(): Promise<Known> {
  const w = await World.mount(await freshImage(SIZE));
  const numbers = new Map<string, number>();
  const paths: string[] = [];
  const file = async (path: string): Promise<void> => {
    await w.create(path);
    await w.write(path, 0, content(path));
    paths.push(path);
  };
  await w.mkdir('dir');
  await w.mkdir('dir/sub');
  await w.mkdir('dir/sub/deep');
  for (let i = 0; i < 50; i++) await file(`dir/file${i}${'n'.repeat(60)}`);
  for (const path of ['a', 'b', 'dir/sub/c', 'dir/sub/deep/d']) await file(path);
  await w.setxattr('a', 'user.small', Buffer.from('1'));
  await w.setxattr('a', 'user.large', Buffer.alloc(9000, 7));
  await w.symlink('long', 'y'.repeat(500));
  for (const path of ['dir', 'dir/sub', 'dir/sub/deep', 'long', ...paths]) {
    await w.at(path, (dentry) => numbers.set(path, dentry.d_inode?.i_ino ?? 0));
  }
  await w.unmount();
  return { image: w.driver.now, ino: (path) => numbers.get(path) ?? 0 };
}

/** Repair it, check that nothing is left to be repaired, and look at it mounted. */
async function mended(t: Test, v: Victim, body: (w: World, repair: Repaired) => Promise<void>): Promise<void> {
  const repair = await repaired(v.image);
  t.equal(repair.result.left, 0, repair.lines.join('\n'));
  t.same(await problemsOf(repair.image), []);
  const w = await World.mount(repair.image);
  await body(w, repair);
  await w.unmount();
  t.same(await problemsOf(w.driver.now), [], 'and after the mount');
}

async function attributes(w: World, path: string): Promise<readonly string[]> {
  return w.at(path, async (dentry) => (await vfs_listxattr(w.task, dentry)).slice().sort());
}

t.test('what has lost its name is in lost+found', async (t) => {
  const { image, ino } = await sound();
  const v = new Victim(image);
  v.block(firstNode(v, ino('dir'), 8)).fill(0);
  await mended(t, v, async (w, { lines }) => {
    t.match(lines.join('\n'), /block \d+ of its tree: no node of a tree/);
    const lost = await w.list('lost+found');
    t.ok(lost.length > 10, `${lost.length} names were lost`);
    for (const name of lost.filter((each) => each !== `#${ino('dir/sub')}`)) {
      t.match(name, /^#\d+$/);
      t.equal((await w.read(`lost+found/${name}`)).length, 20_000);
    }
    const where = lost.includes(`#${ino('dir/sub')}`) ? `lost+found/#${ino('dir/sub')}` : 'dir/sub';
    t.same(await w.read(`${where}/deep/d`), content('dir/sub/deep/d'), 'with all that is below');
    t.equal((await w.list('dir')).length + lost.length, 51, 'and each is there once');
  });
});

t.test('leaves that nothing leads to', async (t) => {
  const w = await World.mount(await freshImage(SIZE));
  await w.mkdir('dir');
  for (let i = 0; i < 300; i++) await w.create(`dir/${i}${'n'.repeat(50)}`);
  await w.create('pieces');
  for (let i = 0; i < 700; i++) await w.write('pieces', i * 8192, Buffer.alloc(100, 1 + (i % 200)));
  const before = await w.read('pieces');
  const names = (await w.list('dir')).sort();
  await w.create('small');
  await w.write('small', 0, content('small'));
  const [dir, pieces, small] = [await inodeAt(w, 'dir'), await inodeAt(w, 'pieces'), await inodeAt(w, 'small')];
  await w.unmount();
  const v = new Victim(w.driver.now);
  // The nodes under the root, and the roots.
  v.editInode(dir, {}, (area) => area.fill(0x55, 8));
  areaOf(v.bytesOf(pieces)).fill(0x55);
  areaOf(v.bytesOf(small)).fill(0x55);
  await mended(t, v, async (after) => {
    t.same(await after.read('pieces'), before, 'are found by what they say of themselves: of a file');
    t.same((await after.list('dir')).sort(), names, 'and of a directory');
    t.same((await after.list('')).sort(), ['dir', 'pieces'], 'a file of which nothing is left is none');
  });
});

function inodeAt(w: World, path: string): Promise<number> {
  return w.at(path, (dentry) => dentry.d_inode?.i_ino ?? 0);
}

t.test('a directory whose inode is lost', async (t) => {
  const { image, ino } = await sound();
  const v = new Victim(image);
  v.bytesOf(ino('dir/sub')).fill(0xff);
  await mended(t, v, async (w, { lines }) => {
    t.match(lines.join('\n'), /directory \d+, name "sub": names inode \d+, which is free/);
    t.same(
      await w.list('lost+found'),
      [`#${ino('dir/sub/c')}`, `#${ino('dir/sub/deep')}`].sort(byKey(await w.list('lost+found'))),
    );
    t.same(await w.read(`lost+found/#${ino('dir/sub/c')}`), content('dir/sub/c'));
    t.same(await w.read(`lost+found/#${ino('dir/sub/deep')}/d`), content('dir/sub/deep/d'));
    await w.at(`lost+found/#${ino('dir/sub/deep')}`, (dentry) => t.equal(dentry.d_inode?.i_nlink, 2));
    await w.at('lost+found', (dentry) => t.match(dentry.d_inode, { i_nlink: 3, i_mode: 0o040700, i_uid: 0 }));
  });
});

/** Sort as another list is sorted. */
function byKey(list: readonly string[]): (a: string, b: string) => number {
  return (a, b) => list.indexOf(a) - list.indexOf(b);
}

t.test('the root is made anew', async (t) => {
  const { image, ino } = await sound();
  const v = new Victim(image);
  v.block(4).fill(0xee, 0, 256);
  await mended(t, v, async (w) => {
    t.same(await w.list(''), ['lost+found']);
    t.same(await w.read(`lost+found/#${ino('a')}`), content('a'));
    t.same(await w.read(`lost+found/#${ino('dir')}/sub/c`), content('dir/sub/c'));
    // What was lost once more goes where the first has gone.
    await w.rename(`lost+found/#${ino('dir')}`, 'dir');
  });
});

t.test('lost+found is used again, and names in it are not', async (t) => {
  const { image, ino } = await sound();
  const w = await World.mount(image);
  await w.mkdir('lost+found');
  await w.create(`lost+found/#${ino('dir/sub/c')}`);
  await w.unmount();
  const v = new Victim(w.driver.now);
  v.bytesOf(ino('dir/sub')).fill(0);
  await mended(t, v, async (again) => {
    t.same(await again.read(`lost+found/#${ino('dir/sub/c')}.1`), content('dir/sub/c'));
    t.equal((await again.list('lost+found')).length, 3);
  });
});

t.test('blocks that two files have', async (t) => {
  const { image, ino } = await sound();
  const v = new Victim(image);
  const physical = firstExtent(v, ino('b'));
  v.editInode(ino('a'), {}, (area) =>
    encodeExtent(area, area.readUInt16LE(8), { logical: 0, physical, length: 5, unwritten: false }),
  );
  await mended(t, v, async (w, { image: after }) => {
    const now = new Victim(after);
    t.not(firstExtent(now, ino('a')), firstExtent(now, ino('b')), 'each has blocks of its own');
    t.same(await w.read('b'), content('b'));
    t.same(await w.read('a'), content('b'), 'with what was in them');
    await w.write('a', 0, Buffer.alloc(20_000, 1));
    t.same(await w.read('b'), content('b'), 'and writing to one does not change the other');
  });
});

t.test('blocks of another in a tree that has lost its checksum', async (t) => {
  const { image, ino } = await sound();
  const v = new Victim(image);
  const physical = firstExtent(v, ino('b'));
  const bytes = v.bytesOf(ino('a'));
  t.ok(ino('a') < ino('b'), 'it is found first');
  const area = areaOf(bytes);
  encodeExtent(area, area.readUInt16LE(8), { logical: 0, physical, length: 5, unwritten: false });
  await mended(t, v, async (w) => {
    t.same(await w.read('b'), content('b'));
    t.same(await w.read('a'), Buffer.alloc(20_000), 'they are not shown to who has that');
  });
});

t.test('blocks of metadata that a file claims', async (t) => {
  const { image, ino } = await sound();
  const v = new Victim(image);
  const physical = firstNode(v, ino('dir'), 8);
  v.editInode(ino('a'), {}, (area) =>
    encodeExtent(area, area.readUInt16LE(8), { logical: 0, physical, length: 1, unwritten: false }),
  );
  await mended(t, v, async (w) => {
    t.equal((await w.list('dir')).length, 51, 'the directory is whole');
    t.same(await w.read('a'), Buffer.alloc(20_000), 'the file shows nothing of it');
  });
});

t.test('a circle of directories, and one with two names', async (t) => {
  const { image, ino } = await sound();
  const w = await World.mount(image);
  await w.mkdir('x');
  await w.mkdir('x/y');
  await w.create('x/y/z');
  const numbers = await Promise.all(['x', 'x/y'].map((path) => w.at(path, (dentry) => dentry.d_inode?.i_ino ?? 0)));
  await w.unmount();
  const [x = 0, y = 0] = numbers;
  const entry = (v: Victim, dir: number, to: number): void =>
    v.editInode(dir, {}, (area) => area.writeUIntLE(to, area.readUInt16LE(8) + 8, 6));
  const circle = new Victim(w.driver.now);
  // x/y/z becomes a name of x, and the root forgets it.
  entry(circle, y, x);
  circle.editInode(x, { parent: y });
  await mended(t, circle, async (after, { lines }) => {
    t.match(lines.join('\n'), /names directory \d+, which has a name in|in a circle of directories/);
    const lost = await after.list('lost+found');
    t.ok(lost.length > 0, lost.join());
  });
  const twice = new Victim(w.driver.now);
  entry(twice, y, ino('dir/sub'));
  await mended(t, twice, async (after) => {
    t.same(await after.list('x/y'), [], 'the name where its .. does not lead is gone');
    t.same(await after.read('dir/sub/c'), content('dir/sub/c'));
  });
});

t.test('the value of an attribute', async (t) => {
  const { image, ino } = await sound();
  const find = (v: Victim): number => {
    // The log has a copy as well.
    for (let block = v.super.journalFirst + v.super.journalLength; block < SIZE / BLOCK_SIZE; block++) {
      if (v.block(block).equals(Buffer.alloc(BLOCK_SIZE, 7))) return block;
    }
    throw new Error('no block of the value');
  };
  for (const [what, damage, expected] of [
    ['its bytes', (v: Victim) => v.block(find(v)).fill(8, 100, 101), /"user.large" has a value with a wrong checksum/],
    [
      'what is behind it',
      (v: Victim) => v.block(find(v) + 2).fill(8, 4000, 4001),
      /"user.large" has a value whose last block is not filled up with zeroes/,
    ],
  ] as const) {
    const v = new Victim(image);
    damage(v);
    t.match((await problemsOf(v.image)).join('\n'), expected, what);
    await mended(t, v, async (w) => {
      t.same(await attributes(w, 'a'), ['user.small'], `${what}: the others stay`);
      t.same(await w.at('a', (dentry) => vfs_getxattr(w.task, dentry, 'user.small')), Buffer.from('1'));
      t.same(await w.read('a'), content('a'));
    });
  }
  const v = new Victim(image);
  v.block(v.inode(ino('a')).xattrBlock).fill(1, NODE_HEAD + 6, NODE_HEAD + 7);
  await mended(t, v, async (w) => {
    t.same(await attributes(w, 'a'), ['user.large', 'user.small'], 'of a damaged block those stay that are whole');
    t.same(await w.at('a', (dentry) => vfs_getxattr(w.task, dentry, 'user.large')), Buffer.alloc(9000, 7));
  });
});

t.test('symlinks', async (t) => {
  const { image, ino } = await sound();
  const cut = new Victim(image);
  cut.block(firstExtent(cut, ino('long'))).fill(0, 300);
  t.match(await problemsOf(cut.image), [/inode \d+: the target of the symlink is not 500 bytes long/]);
  await mended(t, cut, async (w) => {
    await w.at('long', (dentry) => t.equal(dentry.d_inode?.i_size, 300));
  });
  const gone = new Victim(image);
  gone.block(firstExtent(gone, ino('long'))).fill(0);
  await mended(t, gone, async (w, { lines }) => {
    t.match(lines.join('\n'), /inode \d+: a symlink without a target/);
    t.notOk((await w.list('')).includes('long'));
  });
});

t.test('blocks of inodes that no bitmap knows, and that nothing names', async (t) => {
  const { image, ino } = await sound();
  const v = new Victim(image);
  v.block(firstNode(v, ino('dir'), 8)).fill(0);
  const block = Math.floor(ino('dir/sub/c') / 16);
  v.editGroup(INODE_BITMAP, (bits) => flip(bits, block));
  await mended(t, v, async (w, { lines }) => {
    t.match(lines.join('\n'), new RegExp(`inode block ${block}: is not in the inode bitmap`));
    const lost = await w.list('lost+found');
    const where = lost.includes(`#${ino('dir/sub')}`) ? `lost+found/#${ino('dir/sub')}/c` : 'dir/sub/c';
    t.same(await w.read(where), content('dir/sub/c'));
  });
  const all = new Victim(image);
  for (const which of [BLOCK_BITMAP, INODE_BITMAP]) all.block(which).fill(0);
  await mended(t, all, async (w) => {
    t.same(await w.read('dir/sub/deep/d'), content('dir/sub/deep/d'));
    t.equal((await w.list('dir')).length, 51);
    t.notOk((await w.list('')).includes('lost+found'), 'nothing was lost with the bitmaps');
  });
});

t.test('the superblock', async (t) => {
  const { image } = await sound();
  const zeroed = new Victim(image);
  zeroed.block(0).fill(0, 1024, 1280);
  await mended(t, zeroed, async (w, { lines }) => {
    t.match(lines[0], /^superblock: holds no latchfs; its copy in block 2047 is used$/);
    t.same(await w.read('a'), content('a'));
  });
  const without = new Victim(image);
  without.editSuper({ compat: without.super.compat & ~COMPAT_COPY });
  without.block(copyBlock(SIZE / BLOCK_SIZE)).fill(0);
  flip(without.block(BLOCK_BITMAP), copyBlock(SIZE / BLOCK_SIZE));
  without.block(0).fill(1, 1024 + 32, 1024 + 33);
  await mended(t, without, async (w, { lines }) => {
    t.match(lines[0], /^superblock: the superblock's checksum is wrong; what it holds can be right$/);
    t.same(await w.read('a'), content('a'));
  });
  without.block(0).fill(1, 1024 + 64, 1024 + 80);
  await t.rejects(problemsOf(without.image), /checksum is wrong/, 'nothing says what the UUID was');
  const copy = new Victim(image);
  copy.block(2047).fill(0);
  const preened = await repaired(copy.image, 'safe');
  t.match(preened.result, { problems: 1, repaired: true, left: 0 }, 'a copy is made anew without a question');
});

t.test('quota files, which the copy of the superblock does not know', async (t) => {
  const w = await World.mount(await freshImage(SIZE, { quota: true }));
  await w.create('a');
  await w.unmount();
  const v = new Victim(w.driver.now);
  const { quotaInodes } = v.super;
  t.ok(quotaInodes.every((ino) => ino > 0));
  v.block(0).fill(0, 1024, 1280);
  await mended(t, v, async (after, { image }) => {
    t.same(new Victim(image).super.quotaInodes, quotaInodes, 'are found by what is in them');
    t.same(await after.list(''), ['a']);
  });
});

t.test('what is only looked at is not written to', async (t) => {
  const { image, ino } = await sound();
  const v = new Victim(image);
  v.editInode(ino('a'), { nlink: 7 });
  const looked = await repaired(v.image, 'look');
  t.match(looked.result, { problems: 1, repaired: false, left: 1 });
  t.same(looked.driver.events, []);
  const safe = await repaired(v.image, 'safe');
  t.match(safe.result, { problems: 1, repaired: true, left: 0 });
  t.equal(new Victim(safe.image).inode(ino('a')).nlink, 1);
  v.bytesOf(ino('b')).fill(9, 50, 52);
  const grave = await repaired(v.image, 'safe');
  t.match(grave.result, { problems: 2, repaired: false, left: 2 }, 'with one that may lose something nothing is done');
  t.same(grave.driver.events, []);
  t.match((await repaired(v.image, 'all')).result, { problems: 2, repaired: true, left: 0 });
});

t.test('what is in the log comes first', async (t) => {
  const w = await World.mount(await freshImage(SIZE));
  await w.create('first');
  await w.write('first', 0, content('first'));
  await w.sync();
  const image = w.driver.now;
  t.match((await repaired(image, 'look')).result, { problems: 0, replayed: Number });
  const safe = await repaired(image, 'safe');
  t.match(safe.result, { problems: 0, repaired: false, left: 0 });
  t.ok(safe.result.replayed > 0);
  t.match((await repaired(safe.image, 'safe')).result, { replayed: 0 }, 'the log is empty now');
  const v = new Victim(image);
  v.block(ROOT_INO / 16).fill(0);
  await mended(t, v, async (again, { lines }) => {
    t.same(lines, [], 'the log had a whole copy');
    t.same(await again.read('first'), content('first'));
  });
});

t.test('orphans', async (t) => {
  const w = await World.mount(await freshImage(SIZE));
  for (const name of ['one', 'two', 'three']) {
    await w.create(name);
    await w.write(name, 0, content(name));
  }
  await w.sync();
  for (const name of ['one', 'two', 'three']) {
    await w.open(name);
    await w.unlink(name);
  }
  await w.sync();
  const plain = await repaired(w.driver.now);
  t.same(plain.lines, [], 'a list of orphans is nothing wrong');
  const v = new Victim(plain.image);
  v.editInode(v.super.orphan, { nextOrphan: 12345 });
  await mended(t, v, async (again, { lines }) => {
    t.match(lines.join('\n'), /the orphan list goes on with inode 12345, which is free/);
    t.match(again.said.join('\n'), /deleted 3 orphans/, 'the mount deletes those that the list has lost as well');
  });
});

t.test('no room for copies', async (t) => {
  const { image, ino } = await sound();
  const w = await World.mount(image);
  const others: number[] = [];
  for (let i = 0; i < 8; i++) {
    await w.create(`other${i}`);
    others.push(await w.at(`other${i}`, (dentry) => dentry.d_inode?.i_ino ?? 0));
  }
  await w.create('all');
  await t.rejects(w.fallocate('all', 0, 0, SIZE), { code: 'ENOSPC' });
  let size = 6 << 20;
  while (size > 0) {
    const length = size;
    const done = await w.fallocate('all', 0, 0, length).then(
      () => true,
      () => false,
    );
    if (done) break;
    size -= 65_536;
  }
  await w.unmount();
  const v = new Victim(w.driver.now);
  const physical = firstExtent(v, ino('b'));
  const record = Buffer.alloc(EXTENT_SIZE);
  encodeExtent(record, 0, { logical: 0, physical, length: 5, unwritten: false });
  for (const other of others) {
    v.editInode(other, { size: 20_000 }, (area) =>
      new Node(extent_format, area, 0, area.length).insert(0, record, 0, record.length),
    );
  }
  await mended(t, v, async (after) => {
    t.same(await after.read('b'), content('b'), 'one of them keeps them');
    const read: Buffer[] = [];
    for (const i of others.keys()) read.push(await after.read(`other${i}`));
    t.ok(
      read.some((bytes) => bytes.every((byte) => byte === 0)),
      'others have holes',
    );
    t.ok(read.every((bytes) => bytes.every((byte, at) => byte === 0 || byte === content('b')[at])));
  });
});

t.test('no room for lost+found', async (t) => {
  const { image, ino } = await sound();
  const full = new Victim(image);
  const free: number[] = [];
  for (let n = 0; n < full.super.blocks; n++) {
    if (((full.block(BLOCK_BITMAP)[n >>> 3] ?? 0) & (1 << (n & 7))) === 0) free.push(n);
  }
  const [first = 0] = free;
  t.equal((free.at(-1) ?? 0) - first, free.length - 1, 'what is free is one run');
  const record = Buffer.alloc(EXTENT_SIZE);
  encodeExtent(record, 0, { logical: 5, physical: first, length: free.length, unwritten: true });
  full.editInode(ino('b'), {}, (area) =>
    new Node(extent_format, area, 0, area.length).insert(1, record, 0, record.length),
  );
  const { image: without } = await repaired(full.image);
  t.equal(new Victim(without).super.freeBlocks, 0);
  const v = new Victim(without);
  v.bytesOf(ino('dir/sub')).fill(0);
  const { lines, result, image: after } = await repaired(v.image);
  t.match(lines.at(-1), /^there is no room for what must be made anew/);
  t.match(result, { repaired: false });
  t.ok(result.left > 0);
  t.same(after, v.image, 'nothing has changed');
  const w = await World.mount(after);
  await w.unlink('b');
  await w.unmount();
  await mended(t, new Victim(w.driver.now), async (again) => {
    t.same(await again.read(`lost+found/#${ino('dir/sub/deep')}/d`), content('dir/sub/deep/d'));
  });
});

t.test('a block that cannot be read', async (t) => {
  const { image, ino } = await sound();
  const v = new Victim(image);
  v.editInode(ino('b'), { nlink: 7 });
  for (const [what, block] of [
    ['a node', firstNode(v, ino('dir'), 8)],
    ['inodes', Math.floor(ino('a') / 16)],
    ['attributes', v.inode(ino('a')).xattrBlock],
    ['a bitmap', BLOCK_BITMAP],
  ] as const) {
    const m = machine(v.image);
    m.driver.badSectors.add(block * BLOCK_SIZE);
    const lines: string[] = [];
    const result = await fsck(m.task(), m.bdev, (line) => lines.push(line), 'all');
    t.match(lines.join('\n'), new RegExp(`block ${block} cannot be read`), what);
    t.match(result, { repaired: false, unreadable: Number });
    t.ok(result.unreadable > 0);
    t.same(m.driver.events, [], 'what may be whole is not given up');
  }
});

t.test('a device that fails', async (t) => {
  const { image, ino } = await sound();
  const v = new Victim(image);
  v.editInode(ino('a'), { nlink: 7 });
  const m = machine(v.image);
  m.driver.broken = true;
  await t.rejects(
    fsck(m.task(), m.bdev, () => undefined, 'all'),
    { code: 'EIO' },
  );
});
