/** Amounts in what is written to control files: whole numbers, with K, M, G or T where they are of bytes. */

const UNITS = 'KMGT';

/**
 * @param counts what a number without a unit counts: a unit of its own, bytes, or KiB
 * @returns how many of these; NaN where the text is no such amount
 */
export function amountOf(text: string, counts: 'pieces' | 'bytes' | 'KiB'): number {
  const match = /^(\d{1,15})([KMGT]?)$/.exec(text);
  if (match === null) return Number.NaN;
  const number = Number(match[1]);
  const unit = match[2] ?? '';
  if (unit === '') return number;
  const power = UNITS.indexOf(unit) + (counts === 'bytes' ? 1 : 0);
  return counts === 'pieces' ? Number.NaN : number * 1024 ** power;
}
