/** Sizes as people write them: 4096, 64K, 100M, 4G, 1T. */
import { CliError } from './error.js';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/**
 * @returns bytes
 * @throws CliError (status 2) naming the option and the form
 */
export function parseSize(text: string, what: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text);
  const unit = UNITS[(match?.[2] ?? '').toUpperCase()];
  const bytes = match === null || unit === undefined ? Number.NaN : Math.floor(Number(match[1]) * unit);
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw new CliError(`${what}: '${text}' is not a size: write bytes or a number with K, M, G or T, such as 4G`, 2);
  }
  return bytes;
}

/** Whether a source is memory rather than an image. */
export function isMemory(source: string): boolean {
  return source === 'memory' || source.startsWith('memory:');
}
