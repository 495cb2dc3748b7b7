/** Bytes of the format that mean nothing, and fields that mean nothing for a kind of inode: what lies there is found, and gone after the repair. */

import { crc32 } from 'node:zlib';
import t from 'tap';
import { GROUP_OFFSET, groupSeed } from '../../src/latch/format/group.js';
import { CHECKSUM } from '../../src/latch/format/inode.js';
import { BLOCK_SIZE, INODE_SIZE } from '../../src/latch/format/layout.js';
import { SUPER_OFFSET } from '../../src/latch/format/superblock.js';
import { firstNode, Victim } from './victim.js';
import { freshImage, problemsOf, repaired, World } from './world.js';

const w = await World.mount(await freshImage(8 << 20));
await w.mkdir('dir');
for (let i = 0; i < 60; i++) await w.create(`dir/file${i}${'n'.repeat(60)}`);
await w.create('a');
await w.setxattr('a', 'user.one', Buffer.from('1'));
await w.symlink('short', 'target');
const ino = (path: string): Promise<number> => w.at(path, (dentry) => dentry.d_inode?.i_ino ?? 0);
const [dir, file, symlink] = [await ino('dir'), await ino('a'), await ino('short')];
await w.unmount();
const image = w.driver.now;

/** A copy with one bit turned at `at`, a byte of the image, and what has a checksum over it sealed anew. */
function turned(at: number, seal: (v: Victim) => void): Buffer {
  const v = new Victim(image);
  v.image[at] = (v.image[at] ?? 0) ^ 1;
  seal(v);
  return v.image;
}

const sealSuper = (v: Victim): void => {
  const b = v.image.subarray(SUPER_OFFSET, SUPER_OFFSET + 256);
  b.writeUInt32LE(crc32(b.subarray(12)), 8);
};
const sealGroup = (v: Victim): void => {
  const b = v.image.subarray(GROUP_OFFSET, GROUP_OFFSET + 64);
  b.writeUInt32LE(crc32(b.subarray(8), groupSeed(v.super.uuid, 0)), 4);
};
const node = firstNode(new Victim(image), dir, 8);
const { xattrBlock } = new Victim(image).inode(file);
const record = xattrBlock * BLOCK_SIZE + 24 + new Victim(image).block(xattrBlock).readUInt16LE(24 + 8);

/** [what, bytes from and to exclusive, seal] */
const ranges: [string, number, number, (v: Victim) => void][] = [
  ['the superblock', SUPER_OFFSET + 144, SUPER_OFFSET + 256, sealSuper],
  ['a state that is none', SUPER_OFFSET + 21, SUPER_OFFSET + 24, sealSuper],
  ['a descriptor', GROUP_OFFSET + 24, GROUP_OFFSET + 64, sealGroup],
  ["a node's head: the inode", node * BLOCK_SIZE + 14, node * BLOCK_SIZE + 16, (v) => v.sealNode(node, dir)],
  ["a node's head", node * BLOCK_SIZE + 20, node * BLOCK_SIZE + 24, (v) => v.sealNode(node, dir)],
  ['attributes', xattrBlock * BLOCK_SIZE + 14, xattrBlock * BLOCK_SIZE + 16, (v) => v.sealNode(xattrBlock, file)],
  ['an attribute', record + 9, record + 10, (v) => v.sealNode(xattrBlock, file)],
];
for (const [what, of] of [
  ['a directory', dir],
  ['a file', file],
  ['a symlink', symlink],
] as const) {
  const at = of * INODE_SIZE;
  const raw = (from: number, to: number): void => {
    ranges.push([`${what}, bytes ${from} to ${to}`, at + from, at + to, (v) => v.sealInode(of)]);
  };
  raw(30, 32);
  raw(CHECKSUM + 4, 64);
  raw(110, 112);
  raw(118, 128);
  if (of !== dir) raw(104, 110);
  raw(37, 38);
  raw(40, 44);
}

for (const [what, from, to, seal] of ranges) {
  t.test(what, async (t) => {
    for (let at = from; at < to; at++) {
      const damaged = turned(at, seal);
      t.not((await problemsOf(damaged)).length, 0, `byte ${at - from}: found`);
      if (at > from) continue;
      const { image: after } = await repaired(damaged);
      t.same(await problemsOf(after), [], 'and repaired');
    }
  });
}

t.test('project', async (t) => {
  const v = new Victim(image);
  v.editInode(file, { projid: 0xffffffff });
  t.match(await problemsOf(v.image), [/project 4294967295 is none/]);
  t.same(await problemsOf((await repaired(v.image)).image), []);
});
