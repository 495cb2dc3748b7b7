/** The table of what the kernel was told, against a plain Map. */
import fc from 'fast-check';
import t from 'tap';
import { Lookups } from '../../src/fuse/lookups.js';

t.test('it counts as a map does', (t) => {
  // Few ids far apart and many in a row, so that runs form and wrap around.
  const id = fc.oneof(
    fc.integer({ min: 1, max: 3000 }),
    fc.integer({ min: 1, max: 40 }).map((n) => n * 1024),
    fc.integer({ min: 0, max: 8 }).map((n) => n * 2 ** 48 + 1),
  );
  const step = fc.record({ id, take: fc.integer({ min: -1, max: 3 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 3000, size: 'max' }), (steps) => {
      const table = new Lookups();
      const model = new Map<number, number>();
      for (const { id, take } of steps) {
        if (take <= 0) {
          table.add(id);
          model.set(id, (model.get(id) ?? 0) + 1);
        } else {
          const left = (model.get(id) ?? 0) - take;
          if (left > 0) model.set(id, left);
          else model.delete(id);
          if (table.sub(id, take) !== left <= 0) return false;
        }
        if (table.has(id) !== model.has(id) || table.size !== model.size) return false;
      }
      for (const [id, count] of model) if (table.sub(id, count - 1) || !table.has(id)) return false;
      return true;
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('a million nodes cost tens of bytes each, outside the heap, and give it back', (t) => {
  const table = new Lookups();
  const before = process.memoryUsage().heapUsed;
  for (let id = 1; id <= 1_000_000; id++) table.add(id);
  t.ok(table.bytes <= 50e6, `${table.bytes} bytes`);
  t.ok(process.memoryUsage().heapUsed - before < 10e6, 'nothing of it is in the heap');
  for (let id = 1; id <= 1_000_000; id++) if (!table.sub(id, 1)) t.fail(`${id} is still there`);
  t.equal(table.size, 0);
  t.ok(table.bytes < 100_000, `${table.bytes} bytes`);
  t.end();
});
