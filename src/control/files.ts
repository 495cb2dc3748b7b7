/** The files of the control directory. */
import { lookup_mnt, show_mount_options } from '../fs/namespace.js';
import type { SuperBlock } from '../fs/super-block.js';
import { clearLockStat, lockStatText } from '../report/lock-stat.js';
import { chainsText, lockdepText, statsText } from '../report/lockdep-text.js';
import { tasksText } from '../report/tasks-text.js';
import type { ViolationHistory } from '../report/violations.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { CONTROL_NAME } from './automount.js';
import { type ControlTarget, controlFile } from './commands.js';
import { faultsFile } from './faults.js';
import type { ControlFile } from './file.js';
import { quotaFile } from './quota.js';
import { traceFile } from './trace.js';

export interface ControlSources extends ControlTarget {
  /** Where the filesystem is mounted. */
  readonly mountpoint: string;
  readonly violations: ViolationHistory;
  /** The locking contract as a table. */
  contract(): string;
}

/** What would end a field or a line of /proc/mounts, in octal (mangle of fs/proc_namespace.c). */
function mangled(field: string): string {
  return field.replace(/[ \t\n\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** One line of /proc/mounts. */
function mountLine(task: Task, sb: SuperBlock, mountpoint: string): Awaitable<string> {
  const [source, place] = [mangled(sb.s_id), mangled(mountpoint)];
  return andThen(show_mount_options(task, sb), (options) => `${source} ${place} ${sb.s_type} ${options} 0 0\n`);
}

/** This filesystem and what is mounted within it, as /proc/mounts shows mounts. */
function mountsFile({ sb, mountpoint }: ControlSources): ControlFile {
  return {
    name: 'mounts',
    show: (task) =>
      andThen(mountLine(task, sb, mountpoint), (own) => {
        const point = sb.s_root?.d_children?.get(CONTROL_NAME);
        const control = point === undefined ? undefined : lookup_mnt(point);
        if (control === undefined) return own;
        return andThen(mountLine(task, control.mnt_sb, `${mountpoint}/${CONTROL_NAME}`), (line) => own + line);
      }),
  };
}

/** A file that is emptied by writing 0 to it, as /proc/lock_stat is. @throws EINVAL for anything else */
function clearedBy0(name: string, clear: () => void): (task: Task, text: string) => void {
  return (_task, text) => {
    if (text.trim() !== '0') throw errno('EINVAL', `${name} takes 0, not '${text.trim()}'`);
    clear();
  };
}

/** Every file of the control directory, by the names that the README lists. */
export function controlFiles(sources: ControlSources): readonly ControlFile[] {
  const { validator, violations } = sources;
  return [
    controlFile(sources),
    {
      name: 'violations',
      show: () => violations.text(validator),
      write: clearedBy0('violations', () => violations.clear()),
    },
    { name: 'next_violation', show: (task) => violations.next(task) },
    { name: 'tasks', show: () => tasksText(validator) },
    { name: 'lockdep', show: () => lockdepText(validator) },
    { name: 'lockdep_chains', show: () => chainsText(validator) },
    { name: 'lockdep_stats', show: () => statsText(validator) },
    {
      name: 'lock_stat',
      show: () => lockStatText(validator),
      write: clearedBy0('lock_stat', () => clearLockStat(validator)),
    },
    traceFile(sources),
    faultsFile(sources),
    { name: 'contract', show: () => sources.contract() },
    mountsFile(sources),
    quotaFile(sources),
  ];
}
