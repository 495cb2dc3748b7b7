/** Filesystems with something of each kind in them, to be damaged. FUZZ_MIB=SIZE makes larger images: from 136 on they have two groups. */

import { createHash } from 'node:crypto';
import { vfs_getxattr, vfs_listxattr } from '../../src/fs/xattr.js';
import { S_IFDIR, S_IFMT } from '../../src/uapi/stat.js';
import { type Piece, pieces } from './damage.js';
import { freshImage, numbers, World } from './world.js';

const MIB = Number(process.env['FUZZ_MIB'] ?? 8);
const SIZE = MIB << 20;
/** No file of ours is as large, in bytes. */
const LARGE = 1 << 25;

export interface Base {
  readonly image: Buffer;
  readonly pieces: readonly Piece[];
  /** What there is once its log was replayed. */
  readonly files: ReadonlyMap<number, string>;
  /** The log has something in it. */
  readonly dirty: boolean;
}

function isSpecial(mode: number): boolean {
  return ![0o100000, S_IFDIR].includes(mode & S_IFMT);
}

/** What a user can see of a file, in one line. */
async function look(w: World, path: string): Promise<{ ino: number; text: string; isDirectory: boolean }> {
  const seen = await w.at(path, async (dentry) => {
    const { d_inode: inode } = dentry;
    if (inode === undefined) throw new Error(`${path} is not there`);
    const names = (await vfs_listxattr(w.task, dentry)).sort();
    const attributes: string[] = [];
    for (const name of names) {
      // A special file, as a damaged mode makes one, has no attributes of users.
      if (isSpecial(inode.i_mode) && name.startsWith('user.')) continue;
      attributes.push(`${name}=${(await vfs_getxattr(w.task, dentry, name))?.toString('hex')}`);
    }
    const link = await inode.i_op.get_link?.(w.task, dentry, inode);
    const target = typeof link === 'string' ? link : '';
    return { ino: inode.i_ino, mode: inode.i_mode, size: inode.i_size, attributes, target };
  });
  const type = seen.mode & S_IFMT;
  // A damaged size can be any.
  const whole = type === 0o100000 && seen.size < LARGE;
  const bytes = whole ? await w.read(path) : Buffer.from(seen.target);
  const digest = createHash('sha256').update(bytes).update(seen.attributes.join()).digest('hex');
  const size = type === S_IFDIR ? '' : seen.size;
  return { ino: seen.ino, text: `${seen.mode.toString(8)} ${size} ${digest}`, isDirectory: type === S_IFDIR };
}

/** All that can be reached, by inode. Everything must be readable. */
export async function everything(w: World): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  const walk = async (path: string): Promise<void> => {
    for (const name of await w.list(path)) {
      const { ino, text, isDirectory } = await look(w, `${path}/${name}`);
      found.set(ino, text);
      if (isDirectory) await walk(`${path}/${name}`);
    }
  };
  await walk('');
  return found;
}

/** A tree with something of each kind. @param dirty the image is that of a mount which has not ended */
export async function base(seed: number, dirty: boolean, quota: boolean): Promise<Base> {
  const choose = numbers(seed);
  const w = await World.mount(await freshImage(SIZE, { quota, random: (n) => Buffer.alloc(n, choose(256)) }));
  // All else lies in the last group then.
  await w.create('large');
  if (MIB > 64) await w.fallocate('large', 0, 0, SIZE - (10 << 20));
  const dirs = [''];
  const files: string[] = [];
  for (let i = 0; i < 150; i++) {
    const dir = dirs[choose(dirs.length)] ?? '';
    const path = `${dir}/${i}${'n'.repeat(choose(40))}`;
    const kind = choose(12);
    if (kind < 2 && dirs.length < 12) {
      await w.mkdir(path);
      dirs.push(path);
    } else if (kind === 2) await w.symlink(path, 't'.repeat(1 + choose(100)));
    else if (kind === 3) await w.symlink(path, 'l'.repeat(113 + choose(3000)));
    else if (kind === 4 && files.length > 0) await w.link(files[choose(files.length)] ?? '', path);
    else {
      await w.create(path);
      files.push(path);
      if (kind > 5) await w.write(path, choose(3) * 50_000, Buffer.alloc(choose(40_000), i));
      if (kind > 9) await w.setxattr(path, `user.${'a'.repeat(1 + choose(30))}`, Buffer.alloc(choose(200), i));
      if (kind === 11) await w.setxattr(path, 'user.large', Buffer.alloc(1025 + choose(20_000), i));
    }
  }
  const many = dirs[dirs.length - 1] ?? '';
  for (let i = 0; i < 150; i++) await w.create(`${many}/x${i}${'m'.repeat(60)}`);
  await w.create('/pieces');
  for (let i = 0; i < 400; i++) await w.write('/pieces', i * 8192, Buffer.alloc(100, i));
  await w.fallocate('/pieces', 1, 400 * 8192, 60_000);
  await w.create('/attributes');
  for (let i = 0; i < 60; i++) await w.setxattr('/attributes', `user.${i}`, Buffer.alloc(200, i));
  if (dirty) {
    await w.sync();
    for (const path of files.slice(0, 5)) await w.open(path);
    for (const path of files.slice(0, 10)) await w.unlink(path);
    await w.truncate('/pieces', 200 * 8192);
    await w.rename(files[12] ?? '', '/renamed');
    await w.sync();
    const image = w.driver.now;
    const recovered = await World.mount(image);
    const seen = await everything(recovered);
    await recovered.unmount();
    return { image, pieces: await pieces(recovered.driver.now), files: seen, dirty };
  }
  const seen = await everything(w);
  await w.unmount();
  const image = w.driver.now;
  return { image, pieces: await pieces(image), files: seen, dirty };
}
