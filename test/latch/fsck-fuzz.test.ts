/**
 * Whatever is damaged, fsck -y leaves an image on which it finds nothing more, that can be mounted, and on which every file whose own metadata was not hit
 * is as it was: under its name or in lost+found. FUZZ=FROM-TO plays other seeds.
 */
import t from 'tap';
import { Damaged } from './damage.js';
import { type Base, base, everything } from './furnished.js';
import { numbers, problemsOf, repaired, World } from './world.js';

const [FROM = 1, TO = 25] = (process.env['FUZZ'] ?? '').split('-').filter(Boolean).map(Number);

async function play(base: Base, seed: number): Promise<string | undefined> {
  const choose = numbers(seed);
  const damaged = new Damaged(base.image, base.pieces, choose);
  for (let left = 1 + choose(choose(2) === 0 ? 2 : 6); left > 0; left--) damaged.damage();
  const tell = (what: string): string => `seed ${seed}: ${what}\n  ${damaged.log.join('\n  ')}`;
  try {
    let mended = await repaired(damaged.image);
    if (choose(3) === 0) {
      // The power fails during the repair, and it begins anew.
      const cut = choose(mended.driver.events.length + 1);
      damaged.log.push(`power fails after ${cut} of ${mended.driver.events.length} events`);
      mended = await repaired(mended.driver.crash(cut, choose));
    }
    const { image, lines, result } = mended;
    if (result.left > 0) return tell(`left: ${lines.join(' | ')}`);
    const again = await problemsOf(image);
    if (again.length > 0) return tell(`found again: ${again.join(' | ')}`);
    const w = await World.mount(image);
    const found = await everything(w);
    await w.unmount();
    const after = await problemsOf(w.driver.now);
    if (after.length > 0) return tell(`after the mount: ${after.join(' | ')}`);
    // What was only in a log that is lost is lost.
    if (base.dirty && damaged.hit('journal')) return undefined;
    for (const [ino, text] of base.files) {
      if (damaged.touched.has(ino) || found.get(ino) === text) continue;
      return tell(`inode ${ino} was ${text}, and is ${found.get(ino)}; ${lines.slice(0, 20).join(' | ')}`);
    }
    return undefined;
  } catch (error) {
    return tell(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

t.test('fsck repairs whatever is damaged', async (t) => {
  const bases = [
    await base(1, false, false),
    await base(2, true, false),
    await base(3, false, true),
    await base(4, true, true),
  ];
  for (const { image } of bases) t.same(await problemsOf(image), []);
  const failed: string[] = [];
  for (let seed = FROM; seed <= TO; seed++) {
    const one = bases[seed % bases.length];
    const wrong = one === undefined ? 'no base' : await play(one, seed);
    if (wrong !== undefined) failed.push(wrong);
  }
  for (const wrong of failed) t.fail(wrong);
  t.pass(`${TO - FROM + 1} seeds`);
});
