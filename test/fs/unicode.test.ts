/** Which names are one without regard to case. */
import t from 'tap';
import { utf8_casefold } from '../../src/fs/unicode.js';

const bytes = (name: string): string => Buffer.from(name, 'utf8').toString('latin1');
const same = (a: string, b: string): boolean => utf8_casefold(bytes(a)) === utf8_casefold(bytes(b));

t.test('names that are one', async (t) => {
  for (const [a, b] of [
    ['README', 'readme'],
    ['Straße', 'STRASSE'],
    ['ẞ', 'ss'],
    ['ΟΔΟΣ', 'οδος'],
    ['ς', 'σ'],
    ['Ärger', 'a\u0308rger'],
    ['\u212b', 'å'],
    ['K', '\u212a'],
    ['Ꭰ', 'ꭰ'],
    ['ﬁ', 'FI'],
    ['soft\u00adhyphen', 'SOFTHYPHEN'],
    ['İ', 'i\u0307'],
    ['DŽ', 'ǆ'.normalize('NFKC')],
  ] as const) {
    t.ok(same(a, b), `${a} ${b}`);
  }
});

t.test('names that are not', async (t) => {
  for (const [a, b] of [
    ['ı', 'i'],
    ['I', 'ı'],
    ['a', 'á'],
    ['ss', 's'],
    ['x²', 'x2'],
  ] as const) {
    t.notOk(same(a, b), `${a} ${b}`);
  }
});

t.test('what is no UTF-8 is what it is', async (t) => {
  t.equal(utf8_casefold('A\xff'), 'A\xff');
  t.not(utf8_casefold('A\xff'), utf8_casefold('a\xff'));
  t.equal(utf8_casefold(''), '');
});
