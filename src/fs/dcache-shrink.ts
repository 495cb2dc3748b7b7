/** Freeing all names that nobody uses (fs/dcache.c): those below a directory, those of a superblock. */
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { d_drop, dput, kill } from './dcache.js';
import type { Dentry } from './dentry.js';
import type { SuperBlock } from './super-block.js';

/** Names between two turns of others. */
const BATCH = 128;

/** Free what is unused below `parent`: negative dentries of a directory that was removed, for example (shrink_dcache_parent). */
export function shrink_dcache_parent(task: Task, parent: Dentry): Awaitable<void> {
  if (parent.d_children === undefined || parent.d_children.size === 0) return undefined;
  return shrinkBelow(task, parent);
}

async function shrinkBelow(task: Task, top: Dentry): Promise<void> {
  // Leaves first; a directory becomes a leaf, and unused, when its last child goes.
  const stack: { readonly dentry: Dentry; readonly children: Iterator<Dentry> }[] = [];
  const enter = (dentry: Dentry): void => {
    const children = [...(dentry.d_children?.values() ?? [])];
    stack.push({ dentry, children: children[Symbol.iterator]() });
  };
  enter(top);
  for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
    const next = frame.children.next();
    if (next.done !== true) {
      if ((next.value.d_children?.size ?? 0) > 0) enter(next.value);
      else if (next.value.d_count === 0) await kill(task, next.value);
      continue;
    }
    stack.pop();
    if (frame.dentry !== top && frame.dentry.d_count === 0) await kill(task, frame.dentry);
  }
}

/** Free every unused dentry of a superblock (shrink_dcache_sb). */
export async function shrink_dcache_sb(task: Task, sb: SuperBlock): Promise<void> {
  const lru = sb.s_dentry_lru;
  let left = BATCH;
  for (let dentry = lru.oldest; dentry !== undefined; dentry = lru.oldest) {
    if (dentry.d_count > 0) lru.remove(dentry);
    else {
      const gone = kill(task, dentry);
      if (gone instanceof Promise) await gone;
    }
    if (--left > 0) continue;
    left = BATCH;
    await task.sched.yield();
  }
}

/** The tree goes away with its superblock, the root with it (shrink_dcache_for_umount). s_umount is held exclusively. */
export async function shrink_dcache_for_umount(task: Task, sb: SuperBlock): Promise<void> {
  await shrink_dcache_sb(task, sb);
  const { s_root: root } = sb;
  if (root === undefined) return;
  sb.s_root = undefined;
  d_drop(task, root);
  await dput(task, root);
}
