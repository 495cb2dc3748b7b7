/**
 * The order in which locks are taken, declared: the graph that the validator should come to know by watching, no more than this. Whoever adds a lock
 * adds its edges here with the reason, and a test compares what the workloads teach with it. Classes are named without their owner; `name/level` is a
 * nesting level (I_MUTEX_PARENT is 1, I_MUTEX_PARENT2 is 5). The kernel keeps the same list in the head of mm/filemap.c and in its document on
 * directory locking.
 */

/** `before` may be held when `after` is taken. */
export interface OrderEdge {
  readonly before: string;
  readonly after: string;
  readonly why: string;
}

const edge = (before: string, after: string, why: string): OrderEdge => ({ before, after, why });

export const LOCK_ORDER: readonly OrderEdge[] = [
  // The superblock as a whole comes first: mounting, syncing, freezing and unmounting touch everything below.
  edge('namespace_sem', 's_umount', 'what is mounted where is settled before the superblock is locked'),
  edge('s_umount', 's_writers', 'freezing and remounting shut writers out with the superblock locked'),
  edge('s_umount', 'i_rwsem/1', 'mounting and unmounting look names up'),
  edge('s_umount', 'j_barrier', 'a sync commits the journal with the superblock held'),
  edge('s_umount', 'open_mutex', 'the device is opened and closed while its superblock is locked'),
  edge(
    's_writers',
    's_vfs_rename_sem',
    'a system call that changes something keeps freezing away before it locks anything',
  ),
  edge('s_writers', 'i_rwsem/1', 'likewise'),
  edge('s_writers', 's_writers/2', 'a freeze shuts writers out first, then those who store through mappings'),
  edge('s_writers/2', 's_writers/3', 'and last those whose changes nobody has asked for, such as the end of a file'),
  edge('s_writers/3', 'j_barrier', 'these wait for the thaw before they begin a transaction'),
  edge('f_pos_lock', 's_umount', 'a command that is written to the control directory works on the whole filesystem'),

  // Directories: the kernel's document on directory locking.
  edge('s_vfs_rename_sem', 'i_rwsem/1', 'renames between directories are serialised before their parents are locked'),
  edge('f_pos_lock', 'i_rwsem/1', 'the position of a directory is locked before the directory that is read'),
  edge('f_pos_lock', 'i_rwsem', 'likewise where the directory is locked as an ordinary inode'),
  edge('i_rwsem/1', 'i_rwsem/5', 'the two parents of a rename: the ancestor first, or by address'),
  edge('i_rwsem/1', 'i_rwsem/2', 'a parent before the subdirectory that moves or goes'),
  edge('i_rwsem/5', 'i_rwsem/2', 'likewise for the second parent'),
  edge('i_rwsem/2', 'i_rwsem', 'directories before the files that take part'),
  edge('i_rwsem/1', 'i_rwsem', 'a parent before its child'),
  edge('i_rwsem/5', 'i_rwsem', 'likewise for the second parent'),
  edge('i_rwsem', 'i_rwsem/4', 'two files: by address'),

  // A file's contents: the head of mm/filemap.c.
  edge('i_rwsem/4', 'invalidate_lock', 'a truncation or a hole locks the file, then its cache'),
  edge('i_rwsem', 'xattr_sem', 'the VFS locks the inode, the filesystem its attributes'),
  edge(
    'i_rwsem/4',
    'xattr_sem',
    'a rename that leaves a whiteout gives it the ACL that its directory has for new files',
  ),
  edge('mmap_lock', 's_writers/2', 'a fault that makes a page writable keeps freezing away'),
  edge('s_writers/2', 'invalidate_lock', 'before it looks at the cache'),
  edge('mmap_lock', 'invalidate_lock', 'a fault fills the cache with the address space held'),
  edge('i_rwsem', 'mmap_lock', 'a write may fault its own buffer in'),
  edge('invalidate_lock', 'invalidate_lock/1', 'the caches of two files: by address'),
  edge('invalidate_lock/1', 'folio', 'filling or emptying the cache locks its folios'),
  edge('mmap_lock', 'page_table_lock', 'page tables change under their address space'),
  edge('mmap_lock', 'rcu', 'pages that are cached are mapped in a read section'),
  edge('rcu', 'page_table_lock', 'and put into the page table'),
  edge('folio', 'page_table_lock', 'a locked folio is unmapped'),
  edge('page_table_lock', 'i_lock', 'a page that was stored to is dirty, and with it its inode'),
  edge('folio', 'i_data_sem', 'writing a folio out looks its blocks up'),
  edge('folio', 'i_unwritten', 'and waits for data that go past the cache into blocks that it would have to zero'),
  edge('i_unwritten', 'i_data_sem', 'who writes them looks up where they go'),

  // Quota: fs/quota/dquot.c.
  edge('s_umount', 'dqonoff_sem', 'quotas are switched, and written back by a sync, with the superblock locked'),
  edge('dqonoff_sem', 'j_barrier', 'what is written to a quota file is a part of a transaction'),
  edge('j_barrier', 'dqptr_sem', 'a charge is a part of the transaction that takes or gives back what is charged'),
  edge('folio', 'dqptr_sem', 'a page that is promised a block is charged'),
  edge('i_data_sem', 'dqptr_sem', 'a block map that grows is charged'),
  edge('xattr_sem', 'dqptr_sem', 'attributes that grow are charged'),
  edge('dqptr_sem', 'dq_lock', 'a quota that is not in memory is read'),
  edge('dq_lock', 'dqio_sem', 'one quota is read or written, then its file'),
  edge('dqio_sem', 'i_data_sem/2', 'the blocks of a quota file are looked up'),
  edge('i_data_sem/2', 'alloc_lock', 'a quota file grows'),
  edge('dqio_sem', 'dq_data_lock', 'what is written is what is in memory then'),
  edge('folio', 'dq_data_lock', 'a promise that is void is given back where nobody may wait'),

  // The filesystem itself: transactions outside, allocation inside.
  edge('xattr_sem', 'j_barrier', 'attributes are changed in a transaction'),
  edge('i_rwsem/4', 'j_barrier', 'an operation locks its inodes before it begins a transaction'),
  edge('invalidate_lock', 'j_barrier', 'a truncation empties the cache around its transactions'),
  edge('j_barrier', 'i_data_sem', 'block maps change inside a transaction'),
  edge('i_data_sem', 'alloc_lock', 'a block map that grows allocates'),
  edge('j_barrier', 's_orphan_lock', 'the list of orphans changes inside a transaction'),
  edge('s_orphan_lock', 'alloc_lock', 'and may have to allocate'),
  edge('folio', 'alloc_lock', 'writing a folio out may allocate its block'),
  edge('alloc_lock', 'bh', 'bitmaps are buffers'),
  edge('open_mutex', 'bh', 'opening a device reads it'),
  edge('bh', 'j_state_lock', 'a buffer joins a transaction'),

  // Memory: reclaim is entered by whoever allocates, and takes what it needs to write and drop.
  edge('i_rwsem/4', 'fs_reclaim', 'a write allocates folios'),
  edge('invalidate_lock/1', 'fs_reclaim', 'a read or a fault allocates folios'),
  edge('fs_reclaim', 'folio', 'reclaim tries folios, and waits for those that it writes'),

  // Spinlocks, which end the order.
  edge('bh', 'rename_lock', 'nothing that sleeps is taken under a spinlock'),
  edge('folio', 'rename_lock', 'likewise'),
  edge('rcu', 'rename_lock', 'a path is walked in a read section'),
  edge('bh', 'i_lock', 'likewise'),
  edge('folio', 'i_lock', 'likewise'),
  edge('rcu', 'i_lock', 'an inode is looked at in a read section'),
  edge('rename_lock', 'd_lock', 'names change under both'),
  edge('d_lock', 'd_lock/1', 'a parent before its child'),
  edge('d_lock/1', 'd_lock/2', 'and further down'),
  edge('i_lock', 'd_lock', 'a name joins those of its inode'),
  edge('i_lock', 'flc_lock', 'the lock context is found before its lists'),
  edge('flc_lock', 'blocked_lock_lock', 'a file lock that blocks is put on the list of all'),
  edge('page_table_lock', 'swap_lock', 'an entry that goes gives its slot back'),
];

/** Filesystems that lie on others, or whose files work on one: their locks come before those of the filesystems below, and never after. */
const STACKED: ReadonlySet<string> = new Set(['overlay', 'overlay-directory', 'latchctl', 'latchctl-directory']);

/** Whether a lock of a filesystem is taken beneath one of a filesystem that lies on it. */
function beneath(before: string, after: string): boolean {
  const [upper, lower] = [before, after].map((name) => name.slice(0, Math.max(0, name.indexOf(':'))));
  return STACKED.has(upper ?? '') && lower !== '' && !STACKED.has(lower ?? '');
}

/** The locks that may be held when `name` is taken, directly or through others. */
export function mayPrecede(name: string): Set<string> {
  const found = new Set<string>();
  const queue = [name];
  for (const at of queue) {
    for (const { before, after } of LOCK_ORDER) {
      if (after !== at || found.has(before)) continue;
      found.add(before);
      queue.push(before);
    }
  }
  return found;
}

/** A name without its owner, and without nesting levels that this file does not tell apart. */
export function declaredName(name: string): string {
  const bare = name.slice(name.indexOf(':') + 1);
  return LOCK_ORDER.some(({ before, after }) => before === bare || after === bare) ? bare : bare.replace(/\/\d+$/, '');
}

/** A circle in the declared order itself, as names; undefined where there is none. */
export function declaredCircle(): string[] | undefined {
  for (const name of new Set(LOCK_ORDER.flatMap(({ before, after }) => [before, after]))) {
    if (mayPrecede(name).has(name)) return [...mayPrecede(name)];
  }
  return undefined;
}

/** Dependencies that were learned and are not declared; also of locks of one name and level, but of different owners. */
export function undeclared(learned: Iterable<{ readonly before: string; readonly after: string }>): string[] {
  const found: string[] = [];
  const known = new Map<string, Set<string>>();
  for (const { before, after } of learned) {
    if (beneath(before, after)) continue;
    const [first, second] = [declaredName(before), declaredName(after)];
    let preceding = known.get(second);
    if (preceding === undefined) {
      preceding = mayPrecede(second);
      known.set(second, preceding);
    }
    if (!preceding.has(first)) found.push(`${before} → ${after}`);
  }
  return found;
}
