/**
 * Sequences of up to three calls of a core set, and crashes at moments of them. SEQUENCES=N plays N of each length, SEQUENCES_SEED=SEED others, and
 * SEQUENCES_CUTS=N looks at N moments of each.
 */
import t from 'tap';
import { changes, type Op, play, syncs } from './sequences.js';
import { numbers } from './world.js';

const COUNT = Number(process.env['SEQUENCES'] ?? 12);
const SEED = Number(process.env['SEQUENCES_SEED'] ?? 1);
const CUTS = Number(process.env['SEQUENCES_CUTS'] ?? 4);

for (const length of [1, 2, 3]) {
  t.test(`a crash in sequences of ${length}, with something synced`, async (t) => {
    const choose = numbers(SEED * 10 + length);
    const pick = (list: readonly Op[]): Op =>
      list[choose(list.length)] ?? { name: 'nothing', run: async () => undefined };
    let crashes = 0;
    for (let i = 0; i < COUNT; i++) {
      const ops = Array.from({ length }, () => pick(changes));
      // In the midst or at the end somebody syncs.
      ops.splice(choose(2) === 0 ? length : choose(length + 1), 0, pick(syncs));
      try {
        crashes += await play(ops, choose, CUTS);
      } catch (error) {
        t.fail(error instanceof Error ? error.message : String(error));
      }
    }
    t.equal(crashes, COUNT * CUTS);
  });
}

t.test('a crash after a file has taken the name of another', async (t) => {
  const ops = changes.filter(({ name }) => /anew|time goes by/.test(name));
  t.equal(ops.length, 2);
  await t.resolves(play([...ops, ...ops], numbers(SEED), 3 * CUTS));
});
