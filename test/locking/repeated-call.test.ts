/** A call that is made again and again is checked as each single one would be: the same reports for the same mistakes, whenever they happen. */
import fc from 'fast-check';
import t from 'tap';
import { address_space_operations as rows } from '../../src/contract/address-space.js';
import { BitLock } from '../../src/locking/bitlock.js';
import { call, type LockRef } from '../../src/locking/context.js';
import type { Held } from '../../src/locking/held.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { RepeatedCall } from '../../src/locking/repeated-call.js';
import { RwSem } from '../../src/locking/rwsem.js';
import type { Awaitable } from '../../src/sched/awaitable.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';

type Folio = BitLock<'folio'>;

/** What a caller may do to its lock before a page. */
const CALLER = ['keep', 'take again', 'take shared', 'do without', 'hold one more'] as const;
/** What write_begin may do. */
const BEGIN = [
  'right',
  'no lock',
  'another lock',
  'one lock too many',
  'gives up i_rwsem',
  'fails',
  'fails with the lock',
] as const;
/** What write_end may do. */
const END = [
  'right',
  'keeps the lock',
  'gives up i_rwsem',
  'leaks a lock',
  'swaps i_rwsem',
  'fails',
  'fails with the lock',
] as const;

interface Round {
  readonly caller: (typeof CALLER)[number];
  readonly begin: (typeof BEGIN)[number];
  readonly end: (typeof END)[number];
  /** The folio is not locked any more when write_end is called. */
  readonly unlocked: boolean;
  readonly waits: boolean;
}

/** Mostly right, so that something is repeated before it goes wrong. */
const mostly = <T>(values: readonly [T, ...T[]]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(values[0]) }, { weight: 1, arbitrary: fc.constantFrom(...values) });
const round: fc.Arbitrary<Round> = fc.record({
  caller: mostly(CALLER),
  begin: mostly(BEGIN),
  end: mostly(END),
  unlocked: mostly([false, true]),
  waits: mostly([false, true]),
});

/** How both operations are called. */
interface Calls {
  begin(): unknown;
  end(folio: Folio): unknown;
}

class World {
  readonly seen: Violation[] = [];
  readonly task = new Task(new RealScheduler(), new Lockdep('warn', (violation) => this.seen.push(violation)));
  readonly inode = new RwSem('i_rwsem');
  readonly ending: { inode: RwSem<'i_rwsem'>; folio: Folio | undefined } = { inode: this.inode, folio: undefined };
  readonly log: string[] = [];
  #guard: Held<'i_rwsem'> | undefined;
  #now: Round | undefined;
  #folio: Folio = new BitLock('folio');

  readonly begin = (): Folio | Promise<Folio> => {
    const { task } = this;
    const how = this.#now?.begin;
    if (how === 'fails') throw new Error('planned');
    if (how === 'gives up i_rwsem') this.#guard?.release();
    if (how !== 'no lock') (how === 'another lock' ? new BitLock('folio') : this.#folio).tryLock(task);
    if (how === 'one lock too many') new RwSem('mmap_lock').write(task);
    if (how === 'fails with the lock') throw new Error('planned');
    return this.#later(this.#folio);
  };

  readonly end = (): number | Promise<number> => {
    const { task } = this;
    const how = this.#now?.end;
    if (how === 'fails with the lock') throw new Error('planned');
    if (how !== 'keeps the lock' && this.#folio.locked) this.#folio.unlock(task);
    if (how === 'gives up i_rwsem') this.#guard?.release();
    if (how === 'leaks a lock') new RwSem('mmap_lock').write(task);
    if (how === 'swaps i_rwsem') {
      this.#guard?.release();
      new RwSem('i_rwsem').write(task);
    }
    if (how === 'fails') throw new Error('planned');
    return this.#later(1);
  };

  #later<T>(value: T): T | Promise<T> {
    return this.#now?.waits === true ? Promise.resolve(value) : value;
  }

  async run(rounds: readonly Round[], calls: Calls): Promise<void> {
    for (const one of rounds) {
      this.#now = one;
      this.#folio = new BitLock('folio');
      await this.#prepare(one);
      const begun = await this.#called('begin', () => calls.begin());
      if (begun) {
        if (one.unlocked && this.#folio.locked) this.#folio.unlock(this.task);
        this.ending.folio = this.#folio;
        await this.#called('end', () => calls.end(this.#folio));
      }
      this.#now = undefined;
      // Only what a right caller holds is held when the next page comes.
      for (const held of [...this.task.held].reverse()) if (held !== this.#guard) (held as Held).release();
    }
  }

  async #prepare({ caller }: Round): Promise<void> {
    const { task } = this;
    const held = this.#guard !== undefined && !this.#guard.released;
    if (caller === 'keep' && held && this.#guard?.exclusive === true) return;
    if (held) this.#guard?.release();
    this.#guard = undefined;
    if (caller === 'do without') return;
    this.#guard = caller === 'take shared' ? await this.inode.read(task) : await this.inode.write(task);
    if (caller === 'hold one more') await new RwSem('mmap_lock').write(task);
  }

  async #called(what: string, run: () => unknown): Promise<boolean> {
    try {
      const result = await run();
      this.log.push(`${what} ${typeof result}`);
      return true;
    } catch (error) {
      this.log.push(`${what} ${String(error)}`);
      return false;
    }
  }

  /** What was reported, and what is held in the end. */
  get story(): object {
    const calls = (op: string): number => {
      const row = op === 'begin' ? rows.write_begin : rows.write_end;
      return this.seen.filter((violation) => violation.row === `${row.section}.${row.op}`).length;
    };
    return {
      seen: this.seen.map(({ kind, rule, row, message, lock, held, ops, seen }) => ({
        kind,
        rule,
        row,
        message,
        lock,
        ops,
        seen,
        held: held.map((one) => `${one.class} ${one.mode}`),
      })),
      log: this.log,
      held: this.task.held.map(({ name }) => name),
      op: this.task.op === undefined,
      atomic: this.task.atomic,
      begin: calls('begin'),
      end: calls('end'),
    };
  }
}

/** One of the two as it is repeated. */
class Repeated<T> extends RepeatedCall<() => Awaitable<T>, T> {
  protected override operation(implementation: () => Awaitable<T>): Awaitable<T> {
    return implementation();
  }

  protected override broughtBy(result: T): LockRef | undefined {
    return result instanceof BitLock ? result : undefined;
  }
}

/** Each call on its own. */
function single(world: World): Calls {
  const { task, inode, ending } = world;
  return {
    begin: () => call(task, rows.write_begin, { inode }, world.begin, (folio) => ({ folio })),
    end: () => call(task, rows.write_end, ending, world.end),
  };
}

function repeated(world: World): Calls {
  const { task, inode, ending } = world;
  const begins = new Repeated(task, rows.write_begin, { inode }, world.begin);
  const ends = new Repeated(task, rows.write_end, ending, world.end);
  return { begin: () => begins.run(), end: (folio) => ends.run(folio) };
}

async function storyOf(rounds: readonly Round[], how: (world: World) => Calls): Promise<object> {
  const world = new World();
  await world.run(rounds, how(world));
  return world.story;
}

const RIGHT: Round = { caller: 'keep', begin: 'right', end: 'right', unlocked: false, waits: false };

t.test('whatever goes wrong in whichever round is reported as of a single call', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(round, { minLength: 3, maxLength: 12 }), async (rounds) => {
      t.strictSame(await storyOf(rounds, repeated), await storyOf(rounds, single));
    }),
    { numRuns: Number(process.env['LATCHFS_RUNS'] ?? 300) },
  );
});

t.test('each mistake after two rounds that were right', async (t) => {
  const wrong: Round[] = [
    ...CALLER.slice(1).map((caller) => ({ ...RIGHT, caller })),
    ...BEGIN.slice(1).map((begin) => ({ ...RIGHT, begin })),
    ...END.slice(1).map((end) => ({ ...RIGHT, end })),
    { ...RIGHT, unlocked: true },
  ];
  for (const one of wrong) {
    const name = JSON.stringify(one);
    const world = new World();
    await world.run([RIGHT, RIGHT, one, RIGHT], repeated(world));
    t.strictSame(world.story, await storyOf([RIGHT, RIGHT, one, RIGHT], single), name);
    const harmless =
      ['take again', 'hold one more'].includes(one.caller) || one.begin === 'fails' || one.end === 'fails';
    t.equal(world.seen.length > 0, !harmless, `${name}: ${harmless ? 'right' : 'reported'}`);
  }
});

t.test('each call counts, and once it is repeated its rules are not looked at one by one', async (t) => {
  const world = new World();
  const guard = await world.inode.write(world.task);
  let asked = 0;
  const stated = {
    get inode(): RwSem<'i_rwsem'> {
      asked++;
      return world.inode;
    },
  };
  const begins = new Repeated(world.task, rows.write_begin, stated, world.begin);
  for (let i = 0; i < 100; i++) {
    const folio = await begins.run();
    folio.unlock(world.task);
  }
  t.ok(asked < 5, `the participants were asked ${asked} times in 100 calls`);
  guard.release();
  t.same(world.seen, []);
});

t.test('an observer sees every call', async (t) => {
  const world = new World();
  const guard = await world.inode.write(world.task);
  const begins = new Repeated(world.task, rows.write_begin, { inode: world.inode }, world.begin);
  const nothing = (): void => undefined;
  let entered = 0;
  let left = 0;
  for (let i = 0; i < 6; i++) {
    if (i === 3) {
      Object.assign(world.task.validator, {
        observer: {
          entered: () => entered++,
          left: () => left++,
          taken: nothing,
          dropped: nothing,
          slept: nothing,
          woke: nothing,
          ended: nothing,
          accessed: nothing,
        },
      });
    }
    const folio = await begins.run();
    folio.unlock(world.task);
  }
  guard.release();
  t.same([entered, left], [3, 3]);
});
