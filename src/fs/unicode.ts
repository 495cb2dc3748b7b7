/**
 * Names without regard to case (fs/unicode): two names are one where their canonical decompositions, without what is ignorable, fold to the same. Names are
 * bytes, in latin1; what is no UTF-8 is compared byte by byte.
 */

const ASCII = /^[\0-\x7f]*$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** A letter of its own, whose capital form is that of another one. */
const DOTLESS_I = '\u0131';

/** One code point, by way of its capital form, which brings together what lower case keeps apart: final sigma, sharp s. */
function foldOne(letter: string): string {
  return letter === DOTLESS_I ? letter : letter.toLowerCase().toUpperCase().toLowerCase();
}

/** What all forms of a name have in common (utf8_casefold), bytes in latin1. */
export function utf8_casefold(name: string): string {
  if (ASCII.test(name)) return name.toLowerCase();
  let text: string;
  try {
    text = utf8.decode(Buffer.from(name, 'latin1'));
  } catch {
    return name;
  }
  const letters = text.normalize('NFD').replace(/\p{Default_Ignorable_Code_Point}/gu, '');
  const folded = Array.from(letters, foldOne).join('').normalize('NFD');
  return Buffer.from(folded, 'utf8').toString('latin1');
}
