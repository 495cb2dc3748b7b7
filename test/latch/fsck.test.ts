/** Every kind of damage, planted alone, is found and named; a sound filesystem is clean. */
import t from 'tap';
import { encodeExtent } from '../../src/latch/format/inode.js';
import { BLOCK_BITMAP, INODE_BITMAP, ROOM_BITMAP, ROOT_INO } from '../../src/latch/format/layout.js';
import { firstExtent, firstNode, flip, Victim } from './victim.js';
import { freshImage, problemsOf, repaired, World } from './world.js';

const SIZE = 8 << 20;

interface Known {
  readonly image: Buffer;
  /** Inodes by path. */
  readonly ino: (path: string) => number;
}

async function sound(): Promise<Known> {
  const w = await World.mount(await freshImage(SIZE));
  const numbers = new Map<string, number>();
  await w.mkdir('dir');
  await w.mkdir('dir/sub');
  for (let i = 0; i < 60; i++) await w.create(`dir/file${i}${'n'.repeat(60)}`);
  for (const name of ['a', 'b']) {
    await w.create(name);
    await w.write(name, 0, Buffer.alloc(20_000, 5));
  }
  await w.setxattr('a', 'user.one', Buffer.from('1'));
  await w.symlink('short', 'target');
  await w.symlink('long', 'y'.repeat(500));
  await w.link('a', 'dir/a2');
  for (const path of ['dir', 'dir/sub', 'a', 'b']) {
    await w.at(path, (dentry) => numbers.set(path, dentry.d_inode?.i_ino ?? 0));
  }
  await w.at('short', (dentry) => numbers.set('short', dentry.d_inode?.i_ino ?? 0));
  await w.unmount();
  return { image: w.driver.now, ino: (path) => numbers.get(path) ?? 0 };
}

t.test('fsck', async (t) => {
  const { image, ino } = await sound();
  t.same(await problemsOf(image), [], 'a sound filesystem is clean');

  const damages: readonly [string, RegExp, (v: Victim) => void][] = [
    ['free blocks of the superblock', /superblock: says \d+ free blocks/, (v) => v.editSuper({ freeBlocks: 1 })],
    ['inodes of the superblock', /superblock: says 7 inodes in use/, (v) => v.editSuper({ inodes: 7 })],
    [
      'blocks of inodes of the superblock',
      /superblock: says 70 blocks of inodes, there are/,
      (v) => v.editSuper({ inodeBlocks: 70 }),
    ],
    [
      'the place of the journal',
      /superblock: differs from its copy in journalFirst/,
      (v) => v.editSuper({ journalFirst: 9 }),
    ],
    [
      'the length of the journal',
      /superblock: differs from its copy in journalLength/,
      (v) => v.editSuper({ journalLength: 3 }),
    ],
    ["the journal's superblock", /journal: its superblock is damaged/, (v) => v.block(5).fill(7, 0, 100)],
    ['a descriptor', /group 0: the descriptor's checksum is wrong/, (v) => v.block(0).fill(7, 2048 + 8, 2048 + 12)],
    ["a descriptor's magic", /group 0: the descriptor has a wrong magic/, (v) => v.block(0).fill(7, 2048, 2052)],
    [
      "a descriptor's count",
      /group 0: the descriptor says 5 free blocks/,
      (v) =>
        v.editGroup(0, (_bits, group) => {
          group.freeBlocks = 5;
        }),
    ],
    ['a bit of the block bitmap', /checksum of the block bitmap is wrong/, (v) => flip(v.block(BLOCK_BITMAP), 2000)],
    ['a bit of the inode bitmap', /checksum of the inode bitmap is wrong/, (v) => flip(v.block(INODE_BITMAP), 2000)],
    ['a bit of the room bitmap', /checksum of the room bitmap is wrong/, (v) => flip(v.block(ROOM_BITMAP), 2000)],
    [
      'a block lost',
      /group 0: marked in use, but nobody has them: blocks 2000$/,
      (v) => v.editGroup(BLOCK_BITMAP, (bits) => flip(bits, 2000)),
    ],
    [
      'a block free that is in use',
      /group 0: in use, but marked free: blocks/,
      (v) => v.editGroup(BLOCK_BITMAP, (bits) => flip(bits, firstExtent(v, ino('a')))),
    ],
    [
      'a bit beyond the end',
      /a bitmap has bit 2048 set, beyond the end/,
      (v) => v.editGroup(BLOCK_BITMAP, (bits) => flip(bits, 2048)),
    ],
    [
      'inodes that the bitmap does not know',
      /inode block \d+: is not in the inode bitmap/,
      (v) => v.editGroup(INODE_BITMAP, (bits) => flip(bits, Math.floor(ino('a') / 16))),
    ],
    [
      'room where there are no inodes',
      /the room bitmap has block 2000, which holds no inodes/,
      (v) => v.editGroup(ROOM_BITMAP, (bits) => flip(bits, 2000)),
    ],
    [
      'room where there is none',
      /inode block 4: the room bitmap says/,
      (v) => v.editGroup(ROOM_BITMAP, (bits) => flip(bits, 4)),
    ],
    ["an inode's checksum", /inode \d+: the checksum is wrong/, (v) => v.bytesOf(ino('a')).fill(9, 50, 52)],
    ["an inode's mode", /inode \d+: mode 170644 is none/, (v) => v.editInode(ino('a'), { mode: 0o170644 })],
    ["an inode's links", /inode \d+: has 9 links, 2 are right/, (v) => v.editInode(ino('a'), { nlink: 9 })],
    ["a directory's links", /inode \d+: has 9 links, 3 are right/, (v) => v.editInode(ino('dir'), { nlink: 9 })],
    ["an inode's blocks", /inode \d+: says 8 sectors, and has \d+/, (v) => v.editInode(ino('a'), { blocks: 8 })],
    [
      "an inode's time",
      /inode \d+: mtime has 1000000000 nanoseconds/,
      (v) => v.editInode(ino('a'), { mtime: { sec: 0, nsec: 1_000_000_000 } }),
    ],
    ["a symlink's length", /inode \d+: the target of the symlink/, (v) => v.editInode(ino('short'), { size: 3 })],
    ["a directory's size", /inode \d+: a directory of 5 bytes/, (v) => v.editInode(ino('dir'), { size: 5 })],
    [
      'a block that two files have',
      /inode \d+: block \d+ is in use already/,
      (v) => {
        const extent = { logical: 0, physical: firstExtent(v, ino('b')), length: 5, unwritten: false };
        v.editInode(ino('a'), {}, (area) => encodeExtent(area, area.readUInt16LE(8), extent));
      },
    ],
    [
      'an extent beyond the end of the device',
      /inode \d+: the root of its tree: the extent of block 0 lies outside of the device/,
      (v) => {
        const extent = { logical: 0, physical: 5000, length: 5, unwritten: false };
        v.editInode(ino('a'), {}, (area) => encodeExtent(area, area.readUInt16LE(8), extent));
      },
    ],
    [
      'an extent in the head of the group',
      /inode \d+: block 2 is part of the head/,
      (v) => {
        const extent = { logical: 0, physical: 2, length: 1, unwritten: false };
        v.editInode(ino('a'), {}, (area) => encodeExtent(area, area.readUInt16LE(8), extent));
      },
    ],
    ['a tree without a root', /the root of its tree/, (v) => v.editInode(ino('a'), {}, (area) => area.fill(0xee))],
    [
      'a node of a directory',
      /block \d+ of its tree: the checksum is wrong/,
      (v) => v.block(firstNode(v, ino('dir'), 8)).fill(1, 4000, 4010),
    ],
    [
      'an entry for a free inode',
      /directory \d+, name ".*": names inode 31999, which is free/,
      (v) => v.editInode(ROOT_INO, {}, (area) => area.writeUIntLE(31999, area.readUInt16LE(8) + 8, 6)),
    ],
    [
      'an entry with a wrong type',
      /directory \d+, name ".*": says type 6/,
      (v) => v.editInode(ROOT_INO, {}, (area) => area.writeUInt8(6, area.readUInt16LE(8) + 14)),
    ],
    [
      'a name that cannot be',
      /is none that a file can have/,
      (v) => v.editInode(ROOT_INO, {}, (area) => area.write('/', area.readUInt16LE(8) + 16)),
    ],
    [
      'a name under a wrong key',
      /is not where its hash says/,
      (v) => v.editInode(ROOT_INO, {}, (area) => area.write('Z', area.readUInt16LE(8) + 16)),
    ],
    [
      "a directory's '..'",
      /directory \d+: its '\.\.' is 64, and it is in \d+/,
      (v) => v.editInode(ino('dir/sub'), { parent: ROOT_INO }),
    ],
    [
      'an inode without a name',
      /has no name, and is not on the orphan list|has 0 links/,
      (v) => v.editInode(ino('b'), { nlink: 0 }),
    ],
    [
      'an orphan that is free',
      /orphan list goes on with inode 31999, which is free/,
      (v) => v.editSuper({ orphan: 31999 }),
    ],
    [
      'orphans in a circle',
      /orphan list goes on with inode \d+, where it has been/,
      (v) => {
        v.editSuper({ orphan: ino('a') });
        v.editInode(ino('a'), { nextOrphan: ino('a') });
      },
    ],
    [
      'an orphan that is on no list',
      /has a next orphan, and is not on the list/,
      (v) => v.editInode(ino('a'), { nextOrphan: ino('b') }),
    ],
    [
      'an extended attribute',
      /extended attributes: block \d+: the checksum is wrong/,
      (v) => v.block(v.inode(ino('a')).xattrBlock).fill(3, 3000, 3002),
    ],
    [
      'a block of attributes that is none',
      /extended attributes: block \d+: no extended attributes/,
      (v) => v.block(v.inode(ino('a')).xattrBlock).fill(0),
    ],
  ];
  for (const [what, expected, damage] of damages) {
    const v = new Victim(image);
    damage(v);
    const problems = await problemsOf(v.image);
    t.ok(
      problems.some((line) => expected.test(line)),
      `${what}: ${problems.slice(0, 3).join(' | ') || 'nothing was found'}`,
    );
    const { image: mended, lines, result } = await repaired(v.image);
    t.same(lines.slice(result.problems), [], `${what}: one round mends it`);
    t.same(await problemsOf(mended), [], `${what}: is mended`);
    const w = await World.mount(mended);
    t.ok((await w.list('')).length >= 2, `${what}: is mounted`);
    await w.unmount();
  }

  const broken = new Victim(image);
  broken.block(0).fill(1, 1024 + 30, 1024 + 34);
  t.match(
    await problemsOf(broken.image),
    [/superblock: the superblock's checksum is wrong; its copy in block 2047 is used/],
    'a damaged superblock',
  );
  await t.rejects(World.mount(broken.image), /checksum is wrong/, 'which is not mounted either');
  const node = new Victim(image);
  node.block(firstNode(node, ino('dir'), 8)).fill(1, 4000, 4010);
  const w = await World.mount(node.image);
  await t.rejects(w.list('dir'), { code: 'EIO' }, 'a damaged directory can be mounted, and is EIO');
  await w.unmount();
  const root = new Victim(image);
  root.bytesOf(ROOT_INO).fill(9, 50, 52);
  await t.rejects(World.mount(root.image), /damaged.*checksum of inode 64.*latchfs fsck/, 'a damaged root is refused');
});
