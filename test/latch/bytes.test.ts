/** Little-endian numbers among bytes: as Buffer has them, and refused where Buffer refuses them. */
import t from 'tap';
import { get16, get32, get48, put16, put32, put48 } from '../../src/latch/format/bytes.js';

const WIDTHS = [
  { bytes: 2, get: get16, put: put16 },
  { bytes: 4, get: get32, put: put32 },
  { bytes: 6, get: get48, put: put48 },
] as const;

for (const { bytes, get, put } of WIDTHS) {
  const largest = 2 ** (8 * bytes) - 1;
  t.test(`numbers of ${bytes} bytes are as Buffer writes and reads them`, (t) => {
    for (const value of [
      0,
      1,
      0x80,
      0xff,
      0x100,
      0x7fff,
      0x8000,
      0x1234,
      largest >= 2 ** 32 ? 0x123456789a : 0,
      largest,
    ]) {
      const expected = Buffer.alloc(10);
      expected.writeUIntLE(value, 3, bytes);
      const written = Buffer.alloc(10);
      put(written, value, 3);
      t.same(written, expected, `${value} is written`);
      t.equal(get(expected, 3), value, `${value} is read`);
    }
    t.end();
  });

  t.test(`what has no ${bytes} bytes, or no place, is refused`, (t) => {
    const b = Buffer.alloc(8);
    for (const value of [-1, largest + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      t.throws(() => put(b, value, 0), RangeError, `${value}`);
    }
    for (const at of [-1, 9 - bytes, 8, 4096]) {
      t.throws(() => put(b, 0, at), RangeError, `written at ${at}`);
      t.throws(() => get(b, at), RangeError, `read at ${at}`);
    }
    t.same(b, Buffer.alloc(8), 'and nothing is written');
    t.end();
  });
}
