/** Directories whose names are without regard to case (generic_ci_dentry_ops of fs/libfs.c). */
import type { Task } from '../sched/task.js';
import type { Dentry } from './dentry.js';
import { type Inode, S_CASEFOLD } from './inode.js';
import { LOOKUP_CREATE, LOOKUP_RENAME_TARGET } from './namei/lookup.js';
import type { dentry_operations } from './operations.js';
import { utf8_casefold } from './unicode.js';

/** Whether names in a directory are the same without regard to case (IS_CASEFOLDED). */
export function IS_CASEFOLDED(inode: Inode | undefined): boolean {
  return inode !== undefined && (inode.i_flags & S_CASEFOLD) !== 0;
}

function generic_ci_d_hash(_task: Task, parent: Dentry, name: string): string {
  return IS_CASEFOLDED(parent.d_inode) ? utf8_casefold(name) : name;
}

function generic_ci_d_compare(_task: Task, { d_parent: parent }: Dentry, candidate: string, name: string): boolean {
  if (candidate === name) return true;
  return IS_CASEFOLDED(parent.d_inode) && utf8_casefold(candidate) === utf8_casefold(name);
}

/** That there is no such name holds however it is written; but what is made of it is to have the name as it was asked for. */
function generic_ci_d_revalidate(_task: Task, { d_inode: inode, d_parent: parent }: Dentry, flags: number): boolean {
  if (inode !== undefined || !IS_CASEFOLDED(parent.d_inode)) return true;
  return (flags & (LOOKUP_CREATE | LOOKUP_RENAME_TARGET)) === 0;
}

/** Of all dentries of a filesystem that has such directories. */
export const generic_ci_dentry_ops: dentry_operations = {
  d_hash: generic_ci_d_hash,
  d_compare: generic_ci_d_compare,
  d_revalidate: generic_ci_d_revalidate,
};
