/** What `latchfs contract` says of guarded state is what the scenes of the workload show. */
import t from 'tap';
import { playScene } from '../../src/cli/workload/play.js';
import { SCENES } from '../../src/cli/workload/scenes/index.js';
import { checkedBy } from '../../src/contract/checks.js';
import { ALL_ROWS, type LockRule, type Row } from '../../src/contract/index.js';
import { heldBy } from '../../src/locking/held.js';
import { LOCK_ORDER } from '../../src/locking/order.js';
import { Onlooker } from '../../src/report/observed.js';
import type { Task } from '../../src/sched/task.js';
import type { HeldLock } from '../../src/sched/validator.js';

interface Frame {
  readonly row: Row;
  readonly participants: Readonly<Record<string, object | undefined>>;
}

/** The lock of a rule, as the caller has stated it. */
function lockOf({ of, variant, lock }: LockRule, participants: Frame['participants']): object | undefined {
  return participants[variant === undefined ? of : `${of}/${variant}`] ?? participants[`${of}.${lock}`];
}

/** The rules of the operations that run whose lock is the one that guards what is touched. */
class GuardsSeen extends Onlooker {
  readonly rules = new Set<string>();
  /** Rules whose lock a caller has stated. */
  readonly stated = new Set<string>();
  /** Every lock that is taken, by name. */
  readonly locks = new Set<string>();
  readonly #running = new Map<Task, Frame[]>();

  override entered(task: Task, row: Row, participants: Frame['participants']): void {
    const frames = this.#running.get(task) ?? [];
    frames.push({ row, participants });
    this.#running.set(task, frames);
    for (const rule of row.rules) if (lockOf(rule, participants) !== undefined) this.stated.add(rule.id);
  }

  override left(task: Task): void {
    this.#running.get(task)?.pop();
  }

  override taken(_task: Task, held: HeldLock): void {
    this.locks.add(held.name);
  }

  override accessed(task: Task, _field: string, _write: boolean, lock: object): void {
    for (const { row, participants } of this.#running.get(task) ?? []) {
      for (const rule of row.rules) {
        const { id, lock: name, mode } = rule;
        // What it takes for itself only where it finds that it has to, nobody has stated.
        const inside = rule.heldBy === 'operation' && rule.atReturn === 'none' && heldBy(task, lock)?.takenIn === row;
        const theirs = lockOf(rule, participants) ?? (inside ? lock : undefined);
        if (mode !== 'none' && theirs === lock && 'name' in lock && lock.name === name) this.rules.add(id);
      }
    }
  }
}

/** Rules that no caller can speak of before the operation is called. */
const UNSTATED = [
  // The result tells.
  'address_space_operations.write_begin/folio/folio',
  'address_space_operations.writepage/folio/folio/activated',
  'address_space_operations.writepage/folio/folio/written',
  // Never reached (ARCHITECTURE.md).
  'lock_manager_operations.lm_notify/flc_lock/inode',
  'vm_operations_struct.fault/folio/folio',
  // What it finds decides whether it has to.
  'vm_operations_struct.fault/invalidate_lock/mapping',
  'vm_operations_struct.page_mkwrite/folio/folio',
  'vm_operations_struct.page_mkwrite/invalidate_lock/mapping',
];

t.test('guarded state is touched behind the locks of the rules that say so', async (t) => {
  const seen = new GuardsSeen();
  // Twice, because what is found without waiting depends on the moment.
  for (const scene of [...SCENES, ...SCENES]) t.not((await playScene(scene, seen)).result, 'hangs', scene.name);
  // Maps are entered, not taken.
  const declared = new Set(
    LOCK_ORDER.flatMap(({ before, after }) => [before, after].map((name) => name.replace(/\/\d+$/, ''))),
  );
  const never = [...declared].filter((name) => !seen.locks.has(name));
  t.same(never, [], 'every lock of the declared order is taken by somebody');
  const stated = ALL_ROWS.flatMap(({ rules }) => rules).filter((rule) => checkedBy(rule).includes('guarded-state'));
  t.same([...seen.rules].sort(), stated.map(({ id }) => id).sort());
  const unstated = ALL_ROWS.flatMap(({ rules }) => rules).filter((rule) => !seen.stated.has(rule.id));
  t.same(unstated.map(({ id }) => id).sort(), UNSTATED, 'every other rule is looked at when its operation is called');
});
