/** What a mount could not do with the orphan list is found by fsck, and repaired. */
import t from 'tap';
import { Victim } from './victim.js';
import { freshImage, problemsOf, repaired, World } from './world.js';

const kinds: readonly [string, (world: World, path: string) => Promise<void>][] = [
  ['a directory', (world, path) => world.mkdir(path)],
  ['a symlink', (world, path) => world.symlink(path, 't'.repeat(400))],
];

for (const [kind, make] of kinds) {
  t.test(`${kind} that has a name is no orphan`, async (t) => {
    const world = await World.mount(await freshImage(4 << 20));
    await make(world, '/x');
    await world.create('/cut');
    await world.write('/cut', 0, Buffer.alloc(100, 'c'));
    const [x, cut] = await Promise.all(
      ['/x', '/cut'].map((path) => world.at(path, ({ d_inode }) => d_inode?.i_ino ?? 0)),
    );
    if (x === undefined || cut === undefined) throw new Error('no inodes');
    await world.unmount();
    const victim = new Victim(world.driver.now);
    // A file that may be there comes behind it.
    victim.editSuper({ orphan: x, clean: false });
    victim.editInode(x, { nextOrphan: cut });
    if (kind === 'a directory') await t.rejects(World.mount(victim.image), { message: /is damaged/ });
    const problem = `superblock: the orphan list goes on with inode ${x}, which is neither deleted nor to be truncated`;
    t.same(await problemsOf(victim.image), [problem]);
    const { image, result } = await repaired(victim.image);
    t.equal(result.left, 0);
    const again = await World.mount(image);
    t.same((await again.list('')).sort(), ['cut', 'x']);
    t.ok((await again.read('/cut')).equals(Buffer.alloc(100, 'c')));
    t.match(again.said, [/deleted 0 orphans, finished 1 truncations/]);
    await again.unmount();
    t.same(await problemsOf(again.driver.now), []);
  });
}
