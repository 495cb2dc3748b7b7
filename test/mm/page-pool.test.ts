/** Pages come and go; slabs follow. */
import fc from 'fast-check';
import t from 'tap';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { PagePool, SLAB_SIZE } from '../../src/mm/page-pool.js';

t.test('no page is handed out twice, and memory follows use', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -600, max: 600 }), { maxLength: 20 }), (moves) => {
      const pool = new PagePool();
      const out: Buffer[] = [];
      let stamp = 0;
      for (const move of moves) {
        for (let i = 0; i < move; i++) {
          const page = pool.alloc();
          page.writeUInt32LE(++stamp, 0);
          page.writeUInt32LE(stamp, PAGE_SIZE - 4);
          out.push(page);
        }
        // From both ends, so that slabs become empty in any order.
        for (let i = 0; i > move && out.length > 0; i--) {
          const page = i % 3 === 0 ? out.shift() : out.pop();
          if (page === undefined || page.length !== PAGE_SIZE) return false;
          if (page.readUInt32LE(0) !== page.readUInt32LE(PAGE_SIZE - 4)) return false;
          pool.free(page);
        }
        if (pool.used !== out.length) return false;
        if (pool.reserved < out.length * PAGE_SIZE) return false;
      }
      const seen = new Set(out.map((page) => page.readUInt32LE(0)));
      if (seen.size !== out.length) return false;
      for (const page of out) pool.free(page);
      return pool.used === 0 && pool.reserved <= SLAB_SIZE;
    }),
    { numRuns: 60 },
  );
  t.pass('60 random histories');
  t.end();
});

t.test('a page of somewhere else is refused', (t) => {
  t.throws(() => new PagePool().free(Buffer.alloc(PAGE_SIZE)));
  t.end();
});
