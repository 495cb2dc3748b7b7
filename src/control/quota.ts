/** `.latchfs/quota`: quotas for who administers a mount, because quotactl(2) does not reach one. Read it for a table, write commands to it, one a line. */

import {
  GRPQUOTA,
  type IfDqblk,
  PRJQUOTA,
  type QuotaType,
  sb_has_quota_active,
  sb_has_quota_limits_enabled,
  USRQUOTA,
} from '../fs/quota/types.js';
import type { SuperBlock } from '../fs/super-block.js';
import { do_quotactl, type QuotaArgument } from '../fs/syscalls/quota.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { Q_GETINFO, Q_GETNEXTQUOTA, Q_QUOTAOFF, Q_QUOTAON, Q_SETINFO, Q_SETQUOTA } from '../uapi/quota.js';
import { amountOf } from './amount.js';
import type { ControlFile } from './file.js';

export interface QuotaTarget {
  readonly sb: SuperBlock;
  /** Called with one line for the log about a command that means nothing. */
  refused(message: string): void;
}

const TYPES: readonly (readonly [string, QuotaType])[] = [
  ['user', USRQUOTA],
  ['group', GRPQUOTA],
  ['project', PRJQUOTA],
];

const USAGE = `# user|group|project ID blocks SOFT HARD inodes SOFT HARD    limits of space (in KiB, or with M, G, T) and of inodes, either or both; 0: none
# user|group|project grace blocks SECONDS inodes SECONDS       how long soft limits may be exceeded
# user|group|project on|off                                    enforce the limits, or only count
`;

/** @throws EINVAL */
function amount(word: string | undefined, what: string, units: boolean): number {
  const number = amountOf(word ?? '', units ? 'KiB' : 'pieces');
  if (Number.isNaN(number)) throw errno('EINVAL', `${what} is a number, not '${word ?? ''}'`);
  return number;
}

/** What follows 'blocks' and 'inodes', either or both. @throws EINVAL */
function sections(
  words: readonly string[],
  length: number,
): { blocks?: readonly string[]; inodes?: readonly string[] } {
  const found: { blocks?: readonly string[]; inodes?: readonly string[] } = {};
  for (let i = 0; i < words.length; i += length + 1) {
    const word = words[i];
    if (word !== 'blocks' && word !== 'inodes') throw errno('EINVAL', `expected blocks or inodes, not '${word ?? ''}'`);
    if (found[word] !== undefined) throw errno('EINVAL', `${word} is there twice`);
    found[word] = words.slice(i + 1, i + 1 + length);
  }
  if (words.length === 0) throw errno('EINVAL', 'expected blocks or inodes');
  return found;
}

/** The limits that a command gives. @throws EINVAL */
function limits(words: readonly string[]): QuotaArgument {
  const { blocks, inodes } = sections(words, 2);
  const given: QuotaArgument = {};
  if (blocks !== undefined) {
    given.dqb_bsoftlimit = amount(blocks[0], 'a soft limit of blocks', true);
    given.dqb_bhardlimit = amount(blocks[1], 'a hard limit of blocks', true);
  }
  if (inodes !== undefined) {
    given.dqb_isoftlimit = amount(inodes[0], 'a soft limit of inodes', false);
    given.dqb_ihardlimit = amount(inodes[1], 'a hard limit of inodes', false);
  }
  return given;
}

/** The grace times that a command gives. @throws EINVAL */
function graces(words: readonly string[]): QuotaArgument {
  const { blocks, inodes } = sections(words, 1);
  return {
    ...(blocks === undefined ? {} : { dqi_bgrace: amount(blocks[0], 'a grace time', false) }),
    ...(inodes === undefined ? {} : { dqi_igrace: amount(inodes[0], 'a grace time', false) }),
  };
}

async function obey(task: Task, sb: SuperBlock, line: string): Promise<void> {
  const [kind, what, ...rest] = line.split(/\s+/);
  const type = TYPES.find(([name]) => name === kind)?.[1];
  if (type === undefined) throw errno('EINVAL', `expected user, group or project, not '${kind ?? ''}'`);
  if (what === 'on' || what === 'off') {
    if (rest.length > 0) throw errno('EINVAL', `${what} takes no argument, not '${rest.join(' ')}'`);
    await do_quotactl(task, sb, what === 'on' ? Q_QUOTAON : Q_QUOTAOFF, type);
  } else if (what === 'grace') await do_quotactl(task, sb, Q_SETINFO, type, 0, graces(rest));
  else {
    const id = amount(what, 'an id', false);
    if (id > 0xfffffffe) throw errno('EINVAL', `there is no id ${id}`);
    await do_quotactl(task, sb, Q_SETQUOTA, type, id, limits(rest));
  }
}

/** The rows of one type, as words. */
async function rows(task: Task, sb: SuperBlock, name: string, type: QuotaType): Promise<string[][]> {
  const found: string[][] = [];
  const now = task.sched.realtime().sec;
  for (let next = 0; ; ) {
    let quota: QuotaArgument;
    try {
      quota = await do_quotactl(task, sb, Q_GETNEXTQUOTA, type, next);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return found;
      throw error;
    }
    const { dqb_id: id = 0 } = quota;
    found.push([name, String(id), ...columns(quota, now)]);
    next = id + 1;
    await task.sched.yield();
  }
}

/** What a quota's grace time leaves, in seconds; '-' where it has not begun. */
function left(until: number, now: number): string {
  return until === 0 ? '-' : until <= now ? 'none' : String(until - now);
}

function columns(quota: Partial<IfDqblk>, now: number): string[] {
  const { dqb_curspace = 0, dqb_bsoftlimit = 0, dqb_bhardlimit = 0, dqb_btime = 0 } = quota;
  const { dqb_curinodes = 0, dqb_isoftlimit = 0, dqb_ihardlimit = 0, dqb_itime = 0 } = quota;
  const space = [Math.ceil(dqb_curspace / 1024), dqb_bsoftlimit, dqb_bhardlimit].map(String);
  const inodes = [dqb_curinodes, dqb_isoftlimit, dqb_ihardlimit].map(String);
  return [...space, left(dqb_btime, now), ...inodes, left(dqb_itime, now)];
}

const HEAD = ['type', 'id', 'KiB', 'soft', 'hard', 'grace', 'inodes', 'soft', 'hard', 'grace'];

/** Lines of a table whose columns have one width each, numbers to the right. */
export function aligned(table: readonly string[][]): string {
  const widths = HEAD.map((_, i) => table.reduce((most, row) => Math.max(most, row[i]?.length ?? 0), 0));
  const line = (row: string[]): string =>
    row.map((word, i) => (i === 0 ? word.padEnd(widths[i] ?? 0) : word.padStart(widths[i] ?? 0))).join('  ');
  return table.map((row) => `${line(row)}\n`).join('');
}

async function show(task: Task, sb: SuperBlock): Promise<string> {
  const active = TYPES.filter(([, type]) => sb_has_quota_active(sb, type));
  if (active.length === 0) return 'no quotas: mount with -o usrquota,grpquota,prjquota\n';
  let text = '';
  const table = [HEAD];
  for (const [name, type] of active) {
    const { dqi_bgrace, dqi_igrace } = await do_quotactl(task, sb, Q_GETINFO, type);
    const state = sb_has_quota_limits_enabled(sb, type) ? 'on' : 'off';
    text += `${name} ${state}\n${name} grace blocks ${dqi_bgrace} inodes ${dqi_igrace}\n`;
    for (const row of await rows(task, sb, name, type)) table.push(row);
  }
  return text + aligned(table) + USAGE;
}

/** The file. The first command that fails ends the write with its errno, and is explained in the log. */
export function quotaFile({ sb, refused }: QuotaTarget): ControlFile {
  return {
    name: 'quota',
    show: (task) => show(task, sb),
    write: async (task, text) => {
      for (const line of text.split('\n').map((each) => each.trim())) {
        if (line === '' || line.startsWith('#')) continue;
        try {
          await obey(task, sb, line);
        } catch (error) {
          refused(`quota: ${error instanceof Error ? error.message : String(error)}`);
          throw error;
        }
      }
    },
  };
}
