/** Who takes part in the call of an operation: under which names its caller states their locks, and which lock that is for a rule. */
import type { LockName, Row } from '../contract/row.js';
import { ROLES, type RuleCheck } from './row-checks.js';

/**
 * The locks of the participants, by the roles that the row's rules name (`role/variant` where the row tells variants apart, `role.lock`
 * where one role has two locks in the row); a role that is left out is not checked.
 */
export type Participants = Readonly<Record<string, LockRef | undefined>>;

/** The names under which the participants may state the lock of a rule. */
type KeysOf<T> = T extends { readonly of: infer O extends string; readonly lock: infer L extends string }
  ? O | `${O}.${L}` | (T extends { readonly variant: infer V extends string } ? `${O}/${V}` : never)
  : never;

/** The lock of the rules that such a name stands for. */
type LockAt<T, K> = T extends { readonly lock: infer L } ? (K extends KeysOf<T> ? L : never) : never;

/**
 * The participants of one row: its own roles, each with the lock that its rules speak of, so that a role that the row does not know is a
 * type error. Of a row that is not known when this is compiled, any.
 */
export type ParticipantsOf<R extends Row> = {
  readonly [K in KeysOf<R['rules'][number]>]?: { readonly name: LockAt<R['rules'][number], K> } | undefined;
};

/** Any lock, or any of one name, as far as checks need it. */
export interface LockRef<L extends LockName = LockName> {
  readonly name: L;
}

/**
 * What only the result tells: the lock that the operation returned with, or which variant of a rule applies. Called once, when the operation has
 * succeeded; what it returns is added to the participants.
 */
export type Outcome<T> = (result: T) => Participants;

/** Of nobody. */
export const NOTHING: Participants = {};

/** Participants in the roles that most rows have. */
interface CommonRoles {
  readonly inode?: LockRef;
  readonly folio?: LockRef;
  readonly dir?: LockRef;
  readonly mapping?: LockRef;
  readonly mm?: LockRef;
  readonly sb?: LockRef;
  readonly victim?: LockRef;
  readonly old_dir?: LockRef;
  readonly new_dir?: LockRef;
  readonly walk?: LockRef;
  readonly dentry?: LockRef;
  readonly dcache?: LockRef;
}

/**
 * The lock that the participants state for a rule. The roles that most rows have are named one by one: a property that is known when this is compiled
 * costs a tenth of one that is not.
 */
export function statedBy(participants: Participants, check: RuleCheck): LockRef | undefined {
  const common: CommonRoles = participants;
  switch (check.role) {
    case ROLES.inode:
      return common.inode;
    case ROLES.folio:
      return common.folio;
    case ROLES.dir:
      return common.dir;
    case ROLES.mapping:
      return common.mapping;
    case ROLES.mm:
      return common.mm;
    case ROLES.sb:
      return common.sb;
    case ROLES.victim:
      return common.victim;
    case ROLES.old_dir:
      return common.old_dir;
    case ROLES.new_dir:
      return common.new_dir;
    case ROLES.walk:
      return common.walk;
    case ROLES.dentry:
      return common.dentry;
    case ROLES.dcache:
      return common.dcache;
    default:
      return participants[check.key];
  }
}
