/** The system calls of the stress, each with how often it is made compared with the others. They may fail; what they may not do is break a rule, hang or go wrong. */
import { ATTRIBUTES } from './calls/attributes.js';
import type { Call } from './calls/call.js';
import { DATA } from './calls/data.js';
import { DESCRIPTORS } from './calls/descriptors.js';
import { MACHINE } from './calls/machine.js';
import { MEMORY } from './calls/memory.js';
import { NAMES } from './calls/names.js';

export const CALLS: readonly Call[] = [...NAMES, ...DATA, ...MEMORY, ...DESCRIPTORS, ...ATTRIBUTES, ...MACHINE];
const TOTAL = CALLS.reduce((sum, { weight }) => sum + weight, 0);

/** One of them, by their weights. */
export function someCall(choose: (n: number) => number): Call {
  let at = choose(TOTAL);
  for (const call of CALLS) {
    at -= call.weight;
    if (at < 0) return call;
  }
  throw new Error('the weights do not add up');
}
