/** `.latchfs/control`: commands to a mounted filesystem, one a line, and what they have set. */
import { DROP_PAGECACHE, DROP_SLAB, drop_caches } from '../fs/drop-caches.js';
import type { SuperBlock } from '../fs/super-block.js';
import { freeze_super, thaw_super } from '../fs/super-freeze.js';
import { SB_UNFROZEN } from '../fs/super-writers.js';
import { sync_filesystem } from '../fs/sync.js';
import type { Lockdep } from '../locking/lockdep.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { EnforceLevel } from '../sched/validator.js';
import type { ControlFile } from './file.js';

/** What commands act on. */
export interface ControlTarget {
  readonly sb: SuperBlock;
  readonly validator: Lockdep;
  /** Shut the filesystem down (FS_IOC_SHUTDOWN). @param flags the place of the way in SHUTDOWNS */
  shutdown(task: Task, flags: number): Awaitable<void>;
  /** Called with one line for the log about a command that means nothing. */
  refused(message: string): void;
}

interface Command {
  /** With its argument, for who reads the file. */
  readonly usage: string;
  run(task: Task, target: ControlTarget, argument: string): Awaitable<void>;
}

/** EXT4_GOING_FLAGS_* */
const SHUTDOWNS: readonly string[] = ['default', 'logflush', 'nologflush'];
const LEVELS: readonly EnforceLevel[] = ['off', 'warn', 'error', 'panic'];

/** The bits of drop_caches, as /proc/sys/vm/drop_caches takes them. @throws EINVAL */
function dropBits(argument: string): number {
  if (argument === '') return DROP_PAGECACHE | DROP_SLAB;
  if (!/^[123]$/.test(argument)) throw errno('EINVAL', `drop_caches takes 1, 2 or 3, not '${argument}'`);
  return Number(argument);
}

function none(argument: string, command: string): void {
  if (argument !== '') throw errno('EINVAL', `${command} takes no argument, not '${argument}'`);
}

const COMMANDS: Readonly<Record<string, Command>> = {
  drop_caches: {
    usage: 'drop_caches [1|2|3]',
    run: (task, { sb }, argument) => drop_caches(task, sb, dropBits(argument)),
  },
  sync: {
    usage: 'sync',
    run: (task, { sb }, argument) => {
      none(argument, 'sync');
      return sync_filesystem(task, sb);
    },
  },
  freeze: {
    usage: 'freeze',
    run: (task, { sb }, argument) => {
      none(argument, 'freeze');
      return freeze_super(task, sb);
    },
  },
  thaw: {
    usage: 'thaw',
    run: (task, { sb }, argument) => {
      none(argument, 'thaw');
      return thaw_super(task, sb);
    },
  },
  shutdown: {
    usage: `shutdown ${SHUTDOWNS.join('|')}`,
    run: (task, target, argument) => {
      const flags = SHUTDOWNS.indexOf(argument);
      if (flags < 0) throw errno('EINVAL', `shutdown takes ${SHUTDOWNS.join(', ')}, not '${argument}'`);
      return target.shutdown(task, flags);
    },
  },
  enforce: {
    usage: `enforce ${LEVELS.join('|')}`,
    run: (_task, { validator }, argument) => {
      const level = LEVELS.find((candidate) => candidate === argument);
      if (level === undefined) throw errno('EINVAL', `enforce takes ${LEVELS.join(', ')}, not '${argument}'`);
      validator.enforce = level;
    },
  },
  lock_stat: {
    usage: 'lock_stat on|off',
    run: (_task, { validator }, argument) => {
      if (argument !== 'on' && argument !== 'off')
        throw errno('EINVAL', `lock_stat takes on or off, not '${argument}'`);
      validator.holdTimes = argument === 'on';
    },
  },
  debug: {
    usage: 'debug all|none',
    run: (_task, { validator }, argument) => {
      if (argument !== 'all' && argument !== 'none')
        throw errno('EINVAL', `debug takes all or none, not '${argument}'`);
      validator.stacks = argument === 'all';
    },
  },
};

async function obey(task: Task, target: ControlTarget, line: string): Promise<void> {
  const [word = '', ...rest] = line.split(/[\s=]+/);
  const command = Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined;
  if (command === undefined) {
    throw errno('EINVAL', `no command '${word}': there are ${Object.keys(COMMANDS).join(', ')}`);
  }
  await command.run(task, target, rest.join(' '));
}

/** The file. What is written are commands, one a line; the first that fails ends the write with its errno, and is explained in the log. */
export function controlFile(target: ControlTarget): ControlFile {
  return {
    name: 'control',
    show: () => {
      const { sb, validator } = target;
      const state = [
        `enforce ${validator.enforce}`,
        `debug ${validator.stacks ? 'all' : 'none'}`,
        `lock_stat ${validator.holdTimes ? 'on' : 'off'}`,
        `frozen ${sb.s_writers.frozen === SB_UNFROZEN ? 'no' : 'yes'}`,
      ];
      const usage = Object.values(COMMANDS).map((command) => `# ${command.usage}`);
      return `${[...state, ...usage].join('\n')}\n`;
    },
    write: async (task, text) => {
      for (const line of text.split('\n').map((each) => each.trim())) {
        if (line === '' || line.startsWith('#')) continue;
        try {
          await obey(task, target, line);
        } catch (error) {
          target.refused(`control: ${error instanceof Error ? error.message : String(error)}`);
          throw error;
        }
      }
    },
  };
}
