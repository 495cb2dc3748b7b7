/** Slots come and go; slabs, and the memory behind them, follow. */
import fc from 'fast-check';
import t from 'tap';
import { MAX_STALE, SLAB_SIZE, SLAB_SLOTS, SLOT_SIZE, SlabPool } from '../../src/block/slab.js';

t.test('no slot is handed out twice, and memory follows use', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -1200, max: 1200 }), { maxLength: 20 }), (moves) => {
      const pool = new SlabPool();
      const out: number[] = [];
      let stamp = 0;
      const write = (slot: number): void => {
        const page = pool.view(slot);
        page.writeUInt32LE(++stamp, 0);
        page.writeUInt32LE(stamp, SLOT_SIZE - 4);
      };
      for (const move of moves) {
        for (let i = 0; i < move; i++) {
          const slot = pool.alloc();
          write(slot);
          out.push(slot);
        }
        // From both ends, so that slabs become empty in any order.
        for (let i = 0; i > move && out.length > 0; i--) {
          const slot = i % 3 === 0 ? out.shift() : out.pop();
          if (slot === undefined) return false;
          const page = pool.view(slot);
          if (page.length !== SLOT_SIZE || page.readUInt32LE(0) === 0) return false;
          if (page.readUInt32LE(0) !== page.readUInt32LE(SLOT_SIZE - 4)) return false;
          pool.free(slot);
        }
        if (pool.used !== out.length) return false;
        if (pool.reserved < out.length * SLOT_SIZE) return false;
        if (pool.resident < out.length * SLOT_SIZE) return false;
        if (pool.resident > (out.length + MAX_STALE) * SLOT_SIZE) return false;
      }
      const seen = new Set(out.map((slot) => pool.view(slot).readUInt32LE(0)));
      if (seen.size !== out.length) return false;
      for (const slot of out) pool.free(slot);
      return pool.used === 0 && pool.reserved === 0;
    }),
    { numRuns: 60 },
  );
  t.pass('60 random histories');
  t.end();
});

t.test('what is freed a slot here and a slot there is released too, and reads as zeroes', (t) => {
  const pool = new SlabPool();
  const count = 8 * SLAB_SLOTS;
  const slots = Array.from({ length: count }, () => pool.alloc());
  for (const slot of slots) pool.view(slot).fill(0xa5);
  // Every second one: no slab becomes empty, and no two free slots are neighbours.
  for (const slot of slots) if (slot % 2 === 0) pool.free(slot);
  t.equal(pool.reserved, 8 * SLAB_SIZE, 'every slab is in use');
  t.equal(pool.resident, count * SLOT_SIZE, 'what is kept back is not released yet');
  pool.release();
  t.equal(pool.resident, (count / 2) * SLOT_SIZE, 'half of the memory went back');
  const intact = slots.filter((slot) => slot % 2 === 1).every((slot) => pool.view(slot).every((byte) => byte === 0xa5));
  t.ok(intact, 'the others keep their bytes');
  const again = pool.alloc();
  t.ok(
    pool.view(again).every((byte) => byte === 0),
    'memory that went back comes as zeroes',
  );
  t.end();
});

t.test('a slot that is freed twice, or was never handed out, is refused', (t) => {
  const pool = new SlabPool();
  const slot = pool.alloc();
  pool.alloc();
  pool.free(slot);
  t.throws(() => pool.free(slot), /freed twice/);
  t.throws(() => pool.free(77 * SLAB_SLOTS), /not in use/);
  t.end();
});
