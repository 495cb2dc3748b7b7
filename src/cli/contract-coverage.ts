/** `latchfs contract --coverage`: which operations of the contract a fixed workload calls, through a mount and through system calls. */
import Table from 'cli-table3';
import { ALL_ROWS, type Row } from '../contract/index.js';
import { Onlooker } from '../report/observed.js';
import type { Task } from '../sched/task.js';
import type { Output } from './contract.js';
import { onMounts } from './workload/on-mounts.js';
import { playScene } from './workload/play.js';
import { SCENES } from './workload/scenes/index.js';

/** How often each operation is called. */
export class CallCount extends Onlooker {
  readonly #calls = new Map<Row, number>();

  override entered(_task: Task, row: Row): void {
    this.#calls.set(row, this.of(row) + 1);
  }

  of(row: Row): number {
    return this.#calls.get(row) ?? 0;
  }
}

/** One operation's calls. */
export interface Covered {
  readonly section: string;
  readonly op: string;
  readonly mount: number;
  readonly syscalls: number;
}

/** Run the workload both ways. @throws CliError, MountError where nothing can be mounted */
export async function measureCoverage(): Promise<Covered[]> {
  const mount = new CallCount();
  await onMounts(mount);
  const syscalls = new CallCount();
  for (const scene of SCENES) if (scene.lends !== true) await playScene(scene, syscalls);
  return ALL_ROWS.map((row) => ({
    section: row.section,
    op: row.op,
    mount: mount.of(row),
    syscalls: syscalls.of(row),
  }));
}

/**
 * Print the calls of every operation, and those that were not called.
 * @returns the exit status: 1 where an operation was called in neither way
 */
export function printCoverage(
  out: Output,
  covered: readonly Covered[],
  options: { readonly json?: boolean } = {},
): number {
  const missing = covered.filter(({ mount, syscalls }) => mount + syscalls === 0);
  if (options.json === true) out.write(`${JSON.stringify(covered, null, 2)}\n`);
  else {
    const table = new Table({
      head: ['section', 'operation', 'mount', 'system calls'],
      colAligns: ['left', 'left', 'right', 'right'],
      style: { head: [], border: [], compact: true },
    });
    for (const { section, op, mount, syscalls } of covered) table.push([section, op, mount, syscalls]);
    out.write(`${table.toString()}\n`);
    const count = (key: 'mount' | 'syscalls'): number => covered.filter((row) => row[key] > 0).length;
    out.write(`${covered.length - missing.length} of ${covered.length} operations called: `);
    out.write(`${count('mount')} through a mount, ${count('syscalls')} through system calls\n`);
    for (const { section, op } of missing) out.write(`not called: ${section}.${op}\n`);
  }
  return missing.length > 0 ? 1 : 0;
}
