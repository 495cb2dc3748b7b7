/** `.latchfs/faults`: requests to the device that fail or take their time, by rules, one a line (after fault-injection/fault-injection.rst of the kernel). */
import { type BioOp, SECTOR_SIZE } from '../block/bio.js';
import { type Fault, type FaultPolicy, type FaultyRequest, fail_make_request } from '../block/faulty-device.js';
import type { SuperBlock } from '../fs/super-block.js';
import { type ErrnoName, errno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import { amountOf } from './amount.js';
import type { ControlFile } from './file.js';

export interface FaultsTarget {
  readonly sb: SuperBlock;
  /** Called with one line for the log about a rule that means nothing. */
  refused(message: string): void;
}

const OPS: readonly (BioOp | 'any')[] = ['read', 'write', 'flush', 'discard', 'write_zeroes', 'any'];
/** With which requests of disks fail (blk_status_t). */
const ERRORS: readonly ErrnoName[] = ['EIO', 'ENOSPC', 'ETIMEDOUT', 'ENODATA', 'EILSEQ', 'ENOMEM'];

const USAGE = `# ${OPS.join('|')} [${ERRORS.join('|')}] [delay MS] [torn BYTES] [range START-END] [after N] [interval N] [probability PERCENT] [times N]
# off                      nothing fails any more
`;

/** One rule, and how often it was asked. */
interface Rule {
  readonly text: string;
  readonly op: BioOp | 'any';
  readonly fault: Fault;
  /** Bytes of the device; the end is not part of it. */
  readonly start: number;
  readonly end: number;
  /** Requests that go through before the first one fails. */
  readonly after: number;
  /** Of those behind, every how manieth fails. */
  readonly interval: number;
  /** Of these, so many percent do. */
  readonly probability: number;
  /** So many times at most. */
  readonly times: number;
  seen: number;
  failed: number;
}

type Numbers = Partial<Record<'delay' | 'torn' | 'after' | 'interval' | 'probability' | 'times', number>>;

/** What a number after a word may be at least. */
const LEAST: Readonly<Record<keyof Numbers, number>> = {
  delay: 0,
  torn: 0,
  after: 0,
  interval: 1,
  probability: 0,
  times: 1,
};

function isCount(word: string): word is keyof Numbers {
  return Object.hasOwn(LEAST, word);
}

/** @throws EINVAL */
function amount(text: string | undefined, what: string, least = 0): number {
  const number = amountOf(text ?? '', 'bytes');
  if (!Number.isSafeInteger(number) || number < least)
    throw errno('EINVAL', `${what} takes a number of at least ${least}, not '${text ?? ''}'`);
  return number;
}

/** @throws EINVAL */
function range(text: string | undefined): { readonly start: number; readonly end: number } {
  const [first, last, more] = (text ?? '').split('-');
  const place = { start: amount(first, 'range'), end: amount(last, 'range', 1) };
  if (more !== undefined || place.end <= place.start)
    throw errno('EINVAL', `range takes START-END, such as 1M-2M, not '${text}'`);
  return place;
}

/** Read a rule. @throws EINVAL saying which word means nothing */
function parse(text: string): Rule {
  const [first = '', ...words] = text.split(/\s+/);
  const op = OPS.find((known) => known === first);
  if (op === undefined) throw errno('EINVAL', `a rule begins with one of ${OPS.join(', ')}, not '${first}'`);
  const numbers: Numbers = {};
  let error: ErrnoName | undefined;
  let place = { start: 0, end: Number.POSITIVE_INFINITY };
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const named = ERRORS.find((known) => known === word);
    if (named !== undefined) error = named;
    else if (word === 'range') place = range(words.shift());
    else if (isCount(word)) numbers[word] = amount(words.shift(), word, LEAST[word]);
    else throw errno('EINVAL', `'${word}' means nothing in a rule`);
  }
  const { delay, torn, after = 0, interval = 1, probability = 100, times = Number.POSITIVE_INFINITY } = numbers;
  if (torn !== undefined && (op !== 'write' || torn % SECTOR_SIZE !== 0))
    throw errno('EINVAL', `only a write can be torn, after a multiple of ${SECTOR_SIZE} bytes`);
  // A device that is only slow fails nothing.
  error ??= delay === undefined ? 'EIO' : undefined;
  const fault = {
    ...(error === undefined ? {} : { error }),
    ...(delay === undefined ? {} : { delay }),
    ...(torn === undefined ? {} : { torn }),
  };
  return { text, op, fault, ...place, after, interval, probability, times, seen: 0, failed: 0 };
}

function concerns({ op, start, end }: Rule, request: FaultyRequest): boolean {
  if (op !== 'any' && op !== request.op) return false;
  return request.op === 'flush' || (request.offset < end && request.offset + request.length > start);
}

/** Whether a rule has this request fail, of which it is told once. */
function strikes(rule: Rule, sched: Scheduler): boolean {
  const nth = rule.seen++ - rule.after;
  if (nth < 0 || nth % rule.interval !== 0 || rule.failed >= rule.times) return false;
  if (rule.probability < 100 && sched.random() * 100 >= rule.probability) return false;
  rule.failed++;
  return true;
}

function policyOf(rules: readonly Rule[], sched: Scheduler): FaultPolicy {
  return (request) => rules.find((rule) => concerns(rule, request) && strikes(rule, sched))?.fault;
}

/** The file. What is written are rules, as the file shows them, which come behind those that are there; the first one that strikes decides. */
export function faultsFile({ sb, refused }: FaultsTarget): ControlFile {
  let rules: Rule[] = [];
  const obey = (text: string): void => {
    const { s_bdev: bdev } = sb;
    if (bdev === undefined) throw errno('EOPNOTSUPP', `${sb.s_type} has no device`);
    const lines = text
      .split('\n')
      .map((line) => line.replace(/#.*/, '').trim())
      .filter((line) => line !== '');
    // All of it or nothing.
    const last = lines.lastIndexOf('off');
    const fresh = lines.filter((line) => line !== 'off').map(parse);
    rules = last >= 0 ? fresh.slice(fresh.length - (lines.length - 1 - last)) : [...rules, ...fresh];
    fail_make_request(bdev, rules.length === 0 ? undefined : policyOf(rules, sb.sched), sb.sched);
  };
  return {
    name: 'faults',
    show: () => rules.map(({ text, seen, failed }) => `${text}    # ${failed} of ${seen} requests\n`).join('') + USAGE,
    write: (_task, text) => {
      try {
        obey(text);
      } catch (error) {
        refused(`faults: ${error instanceof Error ? error.message : String(error)}`);
        throw error;
      }
    },
  };
}
