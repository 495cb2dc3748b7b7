/** XArray against a Map with sets of marked indices. */
import fc from 'fast-check';
import t from 'tap';
import { XArray, type XaMark } from '../../src/mm/xarray.js';

interface Entry {
  readonly index: number;
  readonly id: number;
}

const MARKS: readonly XaMark[] = ['dirty', 'writeback', 'towrite'];
const index = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 0, max: 200 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 70_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 2 ** 41 - 1 }) },
);
const step = fc.oneof(
  fc.record({ op: fc.constant('store' as const), index }),
  fc.record({ op: fc.constant('erase' as const), index }),
  fc.record({ op: fc.constant('set' as const), index, mark: fc.constantFrom(...MARKS) }),
  fc.record({ op: fc.constant('clear' as const), index, mark: fc.constantFrom(...MARKS) }),
);

class Model {
  readonly entries = new Map<number, Entry>();
  readonly marks: Record<XaMark, Set<number>> = { dirty: new Set(), writeback: new Set(), towrite: new Set() };

  list(start: number, max: number, mark?: XaMark): Entry[] {
    return [...this.entries.values()]
      .filter((entry) => entry.index >= start && entry.index <= max)
      .filter((entry) => mark === undefined || this.marks[mark].has(entry.index))
      .sort((a, b) => a.index - b.index);
  }
}

t.test('behaves as a map with marks', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), index, index, (steps, from, to) => {
      const xa = new XArray<Entry>();
      const model = new Model();
      let id = 0;
      for (const s of steps) {
        if (s.op === 'store') {
          const entry = { index: s.index, id: id++ };
          if (xa.store(entry) !== model.entries.get(s.index)) return false;
          model.entries.set(s.index, entry);
        } else if (s.op === 'erase') {
          if (xa.erase(s.index) !== model.entries.get(s.index)) return false;
          model.entries.delete(s.index);
          for (const mark of MARKS) model.marks[mark].delete(s.index);
        } else if (s.op === 'set') {
          xa.setMark(s.index, s.mark);
          if (model.entries.has(s.index)) model.marks[s.mark].add(s.index);
        } else {
          xa.clearMark(s.index, s.mark);
          model.marks[s.mark].delete(s.index);
        }
        if (xa.count !== model.entries.size) return false;
        if (xa.load(s.index) !== model.entries.get(s.index)) return false;
      }
      for (const mark of MARKS) {
        if (xa.marked(mark) !== model.marks[mark].size > 0) return false;
        for (const entry of model.entries.values()) {
          if (xa.getMark(entry.index, mark) !== model.marks[mark].has(entry.index)) return false;
        }
      }
      for (const mark of [undefined, ...MARKS]) {
        const want = model.list(from, to, mark);
        const got = xa.collect(from, to, Number.POSITIVE_INFINITY, mark);
        if (want.length !== got.length || want.some((entry, i) => entry !== got[i])) return false;
        if (xa.find(from, to, mark) !== want[0]) return false;
        if (xa.collect(from, to, 2, mark).length !== Math.min(2, want.length)) return false;
      }
      return true;
    }),
    { numRuns: 400 },
  );
  t.pass('400 random histories');
  t.end();
});

t.test('an index far away costs few nodes, and an empty tree none', (t) => {
  const xa = new XArray<Entry>();
  t.equal(xa.load(0), undefined);
  t.same(xa.collect(0, 10, 5), []);
  xa.store({ index: 2 ** 40, id: 1 });
  xa.store({ index: 3, id: 2 });
  t.equal(xa.find(4)?.index, 2 ** 40);
  xa.erase(2 ** 40);
  t.equal(xa.load(3)?.id, 2, 'what stays survives the loss of levels');
  t.equal(xa.load(2 ** 40), undefined);
  xa.erase(3);
  t.equal(xa.count, 0);
  t.equal(xa.marked('dirty'), false);
  t.end();
});
