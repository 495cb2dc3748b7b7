/** How large the caches may become. */
import t from 'tap';
import { budget, resources } from '../../src/cli/budget.js';
import { MAX_INODES } from '../../src/mm/memory.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

t.test('the page cache is an eighth of the memory within its bounds', (t) => {
  const of = (memory: number, inMemory = false): number => budget({ memory, heap: 4 * GIB }, inMemory).pageCache / MIB;
  t.equal(of(GIB), 128);
  t.equal(of(256 * MIB), 64);
  t.equal(of(64 * GIB), 512);
  t.equal(of(64 * GIB, true), 128, 'of files in memory less');
  t.end();
});

t.test('a large heap holds everything, of a small one the caches fill a half', (t) => {
  t.match(budget({ memory: 64 * GIB, heap: 2 * GIB }, false), { inodes: MAX_INODES, buffers: 16_384 });
  for (const heap of [30 * MIB, 100 * MIB, 500 * MIB]) {
    const { pageCache, inodes, buffers } = budget({ memory: 64 * GIB, heap }, false);
    const objects = (pageCache / 4096) * 1_100 + inodes * 7_600 + buffers * 600;
    t.ok(objects > heap * 0.45 && objects <= heap * 0.5, `${objects / MIB} of ${heap / MIB}`);
  }
  t.ok(budget({ memory: GIB, heap: -1 }, false).inodes > 0, 'without room hardly any');
  t.end();
});

t.test('this machine is one', (t) => {
  const { memory, heap } = resources();
  t.ok(memory > 64 * MIB && memory < 2 ** 50, `${memory}`);
  t.ok(heap < 2 ** 45, `${heap}`);
  t.end();
});
