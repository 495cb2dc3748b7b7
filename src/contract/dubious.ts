/**
 * What is dubious in the locking document: where it contradicts itself, the kernel that it describes, or what was observed
 * here. A finding never corrects a row silently: it says what the contract does about it.
 */
import { DUBIOUS_ROWS } from './dubious-rows.js';
import type { Finding } from './finding.js';
import type { Section } from './row.js';

/** The findings in prose and in a section's statements; those about single rows are in dubious-rows.ts. */
const DUBIOUS_SECTIONS: readonly Finding[] = [
  {
    id: 'super_operations#all-may-block',
    section: 'super_operations',
    kind: 'self-contradiction',
    says: 'All of its operations may block, and in the same breath that this is not true.',
    evidence: 'its own notes: drop_inode under the i_lock spinlock, free_inode in an RCU callback',
    here: 'drop_inode and free_inode may not block; the others may',
  },
  {
    id: 'inode_operations#counts',
    section: 'inode_operations',
    kind: 'self-contradiction',
    says: 'Prototypes and rows list the same operations, everywhere in the document.',
    evidence: 'd_prune has a row and no prototype, truncate a prototype and no row: 138 prototypes, 139 operations',
    here: 'the contract has all 139',
  },
  {
    id: 'file_operations#readdir-and-ioctl',
    section: 'file_operations',
    kind: 'outdated',
    says: 'readdir and ioctl on directories are to be changed.',
    evidence: 'neither is among its prototypes: iterate_shared and unlocked_ioctl took their places',
    here: 'the demand stands at unlocked_ioctl',
  },
  {
    id: 'dquot_operations#locks-that-are-gone',
    section: 'dquot_operations',
    kind: 'outdated',
    says: 'dqonoff_sem or dqptr_sem is held at the calls.',
    evidence:
      'fs/quota/dquot.c has neither: s_umount took over from dqonoff_sem, dquot_srcu and dq_data_lock from dqptr_sem, dq_lock serialises one dquot',
    here: 'both locks exist here under the names of the document, and one of them is held',
  },
  {
    id: 'dquot_operations#file-that-moved',
    section: 'dquot_operations',
    kind: 'outdated',
    says: 'The details are in fs/dquot.c.',
    evidence: 'the file is fs/quota/dquot.c',
    here: 'nothing depends on it',
  },
  {
    id: 'file_lock_operations#column-i_lock',
    section: 'file_lock_operations',
    kind: 'outdated',
    says: 'inode->i_lock protects the locks of a file.',
    evidence:
      'fs/locks.c keeps them in a file_lock_context under flc_lock, as the next section of the document says itself',
    here: 'the rules of both operations demand flc_lock; the cells keep the words of the document',
  },
  {
    id: 'block_device_operations#prototypes',
    section: 'block_device_operations',
    kind: 'outdated',
    says: 'open and release take an fmode_t, and open a block_device.',
    evidence:
      'include/linux/blkdev.h: open(struct gendisk *, blk_mode_t), release(struct gendisk *); direct_access moved to struct dax_operations',
    here: 'the prototypes are kept as they are printed',
  },
];

/** Every finding, the sections first. */
export const DUBIOUS: readonly Finding[] = [...DUBIOUS_SECTIONS, ...DUBIOUS_ROWS];

/** The findings that concern one operation, or its section as a whole. */
export function dubiousOf(section: Section, op: string): readonly Finding[] {
  return DUBIOUS.filter((finding) => finding.section === section && (finding.op === undefined || finding.op === op));
}
