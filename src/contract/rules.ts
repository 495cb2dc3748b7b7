/**
 * The words in which the rows are written: how a lock is held at a call, what an operation does with it, and what
 * prose demands. Every helper keeps the literal types, so that `(typeof inode_operations.unlink.rules)[number]`
 * names the locks and the modes of unlink.
 */
import { COLUMNS } from './columns.js';
import type { LockName, LockRule, ReturnState, Row, RuleMode, Section } from './row.js';

/** What narrows a rule: its condition, the group of alternatives it belongs to, and the tail of its id. */
interface Narrowing {
  readonly when?: string;
  readonly oneOf?: string;
  readonly variant?: string;
}

type Plain = Record<never, never>;

export interface RuleWords extends Narrowing {
  readonly lock: LockName;
  readonly of: string;
  readonly mode: RuleMode;
  readonly heldBy: 'caller' | 'operation';
  readonly atReturn: ReturnState;
}

type Words<L, O, M, H, R, N> = {
  readonly lock: L;
  readonly of: O;
  readonly mode: M;
  readonly heldBy: H;
  readonly atReturn: R;
} & N;

function words<L, O, M, H, R, N>(lock: L, of: O, mode: M, heldBy: H, atReturn: R, narrowing?: N) {
  return { lock, of, mode, heldBy, atReturn, ...narrowing } as Words<L, O, M, H, R, N>;
}

/** The caller holds it exclusively, and still does at return. */
export const exclusive = <L extends LockName, const O extends string, const N extends Narrowing = Plain>(
  lock: L,
  of: O,
  narrowing?: N,
) => words(lock, of, 'write' as const, 'caller' as const, 'held' as const, narrowing);

/** The caller holds it at least shared, and still does at return. */
export const shared = <L extends LockName, const O extends string, const N extends Narrowing = Plain>(
  lock: L,
  of: O,
  narrowing?: N,
) => words(lock, of, 'read' as const, 'caller' as const, 'held' as const, narrowing);

/** The caller holds it in whichever mode, and still does at return. */
export const eitherMode = <L extends LockName, const O extends string, const N extends Narrowing = Plain>(
  lock: L,
  of: O,
  narrowing?: N,
) => words(lock, of, 'any' as const, 'caller' as const, 'held' as const, narrowing);

/** The caller must not hold it. */
export const notHeld = <L extends LockName, const O extends string, const N extends Narrowing = Plain>(
  lock: L,
  of: O,
  narrowing?: N,
) => words(lock, of, 'none' as const, 'caller' as const, 'none' as const, narrowing);

/** The caller holds it exclusively, and the operation, or the I/O that it began, releases it. */
export const unlocks = <L extends LockName, const O extends string, const N extends Narrowing = Plain>(
  lock: L,
  of: O,
  narrowing?: N,
) => words(lock, of, 'write' as const, 'caller' as const, 'released' as const, narrowing);

/** The operation takes it exclusively and returns holding it. */
export const acquires = <L extends LockName, const O extends string, const N extends Narrowing = Plain>(
  lock: L,
  of: O,
  narrowing?: N,
) => words(lock, of, 'write' as const, 'operation' as const, 'acquired' as const, narrowing);

/** The operation takes it in that mode and drops it before it returns. */
export const takes = <
  L extends LockName,
  const O extends string,
  const M extends 'read' | 'write' | 'any',
  const N extends Narrowing = Plain,
>(
  lock: L,
  of: O,
  mode: M,
  narrowing?: N,
) => words(lock, of, mode, 'operation' as const, 'none' as const, narrowing);

/** A named rule of the prose: what it demands, in our own words, and where it is said if not at its operation. */
export const demand = <const Name extends string>(name: Name, demands: string, at?: string) => ({
  name,
  demands,
  ...(at === undefined ? {} : { at }),
});

interface OperationWords {
  readonly returns?: string;
  readonly prototype?: string;
  /** One text for each column of the section; '' where the document leaves the cell empty. */
  readonly cells: readonly string[];
  readonly mayBlock: 'yes' | 'no' | 'maybe';
  readonly blockCondition?: string;
  readonly context?: 'completion' | 'rcu callback';
  readonly keepsUntil?: string;
  readonly rules: readonly RuleWords[];
  readonly prose?: readonly { readonly name: string; readonly demands: string; readonly at?: string }[];
  readonly reach: readonly ('mount' | 'syscalls')[];
}

type RuleId<S extends string, Op extends string, W extends RuleWords> = W extends {
  readonly variant: infer V extends string;
}
  ? `${S}.${Op}/${W['lock']}/${W['of']}/${V}`
  : `${S}.${Op}/${W['lock']}/${W['of']}`;

type Rule<S extends string, Op extends string, W extends RuleWords> = {
  readonly id: RuleId<S, Op, W>;
  readonly lock: W['lock'];
  readonly of: W['of'];
  readonly mode: W['mode'];
  readonly heldBy: W['heldBy'];
  readonly atReturn: W['atReturn'];
} & Pick<W, keyof W & ('when' | 'oneOf' | 'variant')>;

type Rules<S extends string, Op extends string, W extends readonly RuleWords[]> = {
  readonly [K in keyof W]: Rule<S, Op, W[K]>;
};

type Complete<S extends Section, Op extends string, D extends OperationWords> = Omit<
  Row,
  'section' | 'op' | 'rules'
> & {
  readonly section: S;
  readonly op: Op;
  readonly mayBlock: D['mayBlock'];
  readonly rules: Rules<S, Op, D['rules']>;
};

function completeRule(prefix: string, rule: RuleWords): LockRule {
  const tail = rule.variant === undefined ? '' : `/${rule.variant}`;
  return Object.freeze({ id: `${prefix}/${rule.lock}/${rule.of}${tail}`, ...rule });
}

function completeCells(section: Section, texts: readonly string[]): Record<string, string> {
  const cells: Record<string, string> = {};
  for (const [index, column] of COLUMNS[section].entries()) {
    const text = texts[index];
    if (text) cells[column] = text;
  }
  return Object.freeze(cells);
}

/** The constructor of one section's rows: it adds the section, the operation's name, and the ids of its rules. */
export const rowsOf =
  <const S extends Section>(section: S) =>
  <const Op extends string, const D extends OperationWords>(op: Op, data: D): Complete<S, Op, D> => {
    const prefix = `${section}.${op}`;
    const row: Row = {
      section,
      op,
      ...(data.returns === undefined ? {} : { returns: data.returns }),
      ...(data.prototype === undefined ? {} : { prototype: data.prototype }),
      cells: completeCells(section, data.cells),
      mayBlock: data.mayBlock,
      ...(data.blockCondition === undefined ? {} : { blockCondition: data.blockCondition }),
      ...(data.context === undefined ? {} : { context: data.context }),
      ...(data.keepsUntil === undefined ? {} : { keepsUntil: data.keepsUntil }),
      rules: Object.freeze(data.rules.map((rule) => completeRule(prefix, rule))),
      prose: (data.prose ?? []).map(({ name, demands, at }) => ({
        id: `${prefix}#${name}`,
        at: at ?? `${section}, the paragraph on ${op}`,
        demands,
      })),
      reach: data.reach,
    };
    return Object.freeze(row) as Row as Complete<S, Op, D>;
  };

/** Reached through a mount and through the in-process system calls. */
export const EVERYWHERE = ['mount', 'syscalls'] as const;

/** Reached through the in-process system calls only: fuse.ko never forwards it. */
export const SYSCALLS = ['syscalls'] as const;
