/** Looking at a whole directory, for fsck. */
import type { Task } from '../sched/task.js';
import { checkTree, type Problem, type TreeVisitor } from './btree/check.js';
import type { TreeHost } from './btree/tree.js';
import { dir_format, entryAt, type NameRules, nameAt } from './dir.js';
import { firstKey, isFileName } from './names.js';

/** What is wrong with the tree, or with one entry of it. */
export interface DirProblem extends Problem {
  /** The name of the entry. */
  readonly entry?: string;
}

export interface DirVisitor extends Pick<TreeVisitor, 'node'> {
  problem(problem: DirProblem): void;
  /** An entry; whether its inode exists and is of that type is for the caller to see. */
  entry(name: string, ino: number, type: number, block: number | undefined): void;
}

/**
 * Check the tree of a directory and its entries: names that can be, each once, and where its hash says.
 * @param root the area of the inode
 * @param blocks how many blocks the device has
 * @param rules which names are one, and where they lie
 */
export async function checkDirectory(
  task: Task,
  host: TreeHost,
  root: Buffer,
  blocks: number,
  rules: NameRules,
  visitor: DirVisitor,
): Promise<void> {
  // Names of one hash follow each other: only those can be equal.
  let names = new Set<string>();
  let hash = -1;
  await checkTree(task, host, dir_format, root, blocks, {
    problem: (problem) => visitor.problem(problem),
    node: (block) => visitor.node(block),
    record: (data, at, key, block) => {
      const name = nameAt(data, at);
      const { ino, type } = entryAt(data, at);
      const tell = (what: string): void =>
        visitor.problem({ block, message: `the name ${JSON.stringify(name)} ${what}`, entry: name });
      if (!isFileName(name)) tell('is none that a file can have');
      if (ino === 0) tell('stands for no inode');
      const first = firstKey(key);
      if (rules.keyOf(name) !== first) tell('is not where its hash says');
      if (first !== hash) names = new Set();
      hash = first;
      if (names.has(rules.fold(name))) tell('is there twice');
      names.add(rules.fold(name));
      visitor.entry(name, ino, type, block);
    },
  });
}
