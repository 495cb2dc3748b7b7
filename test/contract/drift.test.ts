/** Drift: none where there is none, and each planted difference found in every form of document. */
import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { DocumentError, parseDocument } from '../../src/contract/document.js';
import { type Drift, driftOf } from '../../src/contract/drift.js';
import { asPlainText, asReStructuredText } from './documents.js';

const drift = (text: string): readonly Drift[] => driftOf(parseDocument(text));
const brief = (found: readonly Drift[]): string[] =>
  found.map(({ kind, section, op, column }) => `${kind} ${section}${op ? `.${op}` : ''}${column ? ` ${column}` : ''}`);

/** Replace one thing, or fail: a test that plants nothing proves nothing. */
function plant(text: string, was: string | RegExp, now: string): string {
  const planted = text.replace(was, now);
  if (planted === text) throw new Error(`${was} is not there`);
  return planted;
}

const DOCUMENT = '../shared/locking.txt';
t.test('the document itself', { skip: existsSync(DOCUMENT) ? false : `${DOCUMENT} is not there` }, async (t) => {
  t.strictSame(drift(readFileSync(DOCUMENT, 'utf8')), []);
});

for (const [form, write] of Object.entries({ asPlainText, asReStructuredText })) {
  t.test(form, async (t) => {
    const text = write();
    t.strictSame(drift(text), [], 'the contract does not differ from itself');

    const cell = drift(plant(text, /^(setattr:\s+)exclusive/m, '$1shared   '));
    t.strictSame(brief(cell), ['cell changed inode_operations.setattr i_rwsem(inode)']);
    t.match(cell[0], { contract: 'exclusive', document: 'shared' });
    t.match(text.split('\n')[(cell[0]?.line ?? 0) - 1], /^setattr:/, 'the line is named');

    t.strictSame(brief(drift(plant(text, /^(invalidate_folio:\s+)yes(\s+)exclusive/m, '$1no $2exclusive'))), [
      'cell changed address_space_operations.invalidate_folio folio locked',
    ]);
    t.strictSame(brief(drift(plant(text, /(\(\*fasync\) \(int, )/, '$1bool, '))), [
      'prototype changed file_operations.fasync',
    ]);
    t.strictSame(brief(drift(plant(text, /^\s*int \(\*fadvise\).*\n/m, ''))), ['row removed file_operations.fadvise']);
    t.strictSame(brief(drift(plant(text, /^(\s*)(int \(\*fadvise\).*\n)/m, '$1$2$1int (*fnew)(struct file *);\n'))), [
      'row added file_operations.fnew',
    ]);
    t.strictSame(brief(drift(plant(text, /^(\s*)int \(\*setattr\).*\n/m, ''))), [
      'prototype removed inode_operations.setattr',
    ]);
    t.strictSame(brief(drift(plant(text, /all may block/, ''))), ['blocking changed inode_operations']);
    t.strictSame(brief(drift(plant(text, /^(ops\s+)open_mutex/m, '$1bd_mutex  '))), [
      'column renamed block_device_operations open_mutex',
    ]);
    t.strictSame(brief(drift(plant(text, /\nfile_lock_operations/, '\nfile_lease_operations'))).sort(), [
      'row added file_lease_operations.fl_copy_lock',
      'row added file_lease_operations.fl_release_private',
      'row removed file_lock_operations.fl_copy_lock',
      'row removed file_lock_operations.fl_release_private',
      'section added file_lease_operations',
      'section removed file_lock_operations',
    ]);
  });
}

t.test('the dash that the kernel tree has for a cell without a text', async (t) => {
  const text = asReStructuredText();
  const dashed = plant(text, /^(mark_dirty:\s+no\s+) /m, '$1-');
  t.strictSame(drift(dashed), []);
  t.strictSame(brief(drift(plant(dashed, /^(mark_dirty:\s+no\s+)-/m, '$1x'))), [
    'cell changed dquot_operations.mark_dirty Held locks when called',
  ]);
});

t.test('a row that goes, in the table', async (t) => {
  t.strictSame(brief(drift(plant(asReStructuredText(), /^d_prune:.*\n/m, ''))), [
    'row removed dentry_operations.d_prune',
  ]);
  t.strictSame(brief(drift(plant(asPlainText(), 'd_prune:\n\nno\n\nyes\n\nno\n\nno\n\n', ''))), [
    'row removed dentry_operations.d_prune',
  ]);
});

t.test('a row that goes while its prototype stays, whatever its cells say', async (t) => {
  const gone = ['row removed super_operations.alloc_inode'];
  t.strictSame(brief(drift(plant(asReStructuredText(), /^alloc_inode:.*\n/m, ''))), gone);
  t.strictSame(brief(drift(plant(asPlainText(), '\nalloc_inode:\n', '\n'))), gone);
  const setattr = drift(plant(asReStructuredText(), /^setattr:.*\n/m, ''));
  t.strictSame(brief(setattr), ['row removed inode_operations.setattr']);
  t.ok(setattr[0]?.line, 'the line of the prototype');
});

t.test('a row that comes where there was a prototype alone', async (t) => {
  const tree = plant(asReStructuredText(), /^(setattr):(.*\n)/m, '$1:$2truncate:$2');
  t.strictSame(brief(drift(tree)), ['row added inode_operations.truncate']);
});

t.test('a row that comes, in the table', async (t) => {
  const plain = plant(asPlainText(), 'd_prune:\n', 'd_new:\n\nno\n\nno\n\nno\n\nno\n\nd_prune:\n');
  t.strictSame(brief(drift(plain)), ['row added dentry_operations.d_new']);
  const tree = plant(asReStructuredText(), /^(d_prune):(.*\n)/m, '$1:$2d_new:  $2');
  t.strictSame(brief(drift(tree)), ['row added dentry_operations.d_new']);
});

const TABBED = `	The text below describes something.

--------------------------- super_operations ---------------------------
prototypes:
	int (*drop_inode) (struct inode *);
	int (*statfs) (struct dentry *,
			struct kstatfs *);
	void (*write_super) (struct super_block *);  /* gone */

locking rules:
	All may block [not true, see below]
			s_umount
drop_inode:				!!!inode->i_lock!!!
statfs:			maybe(read)	(see below)
write_super		read

->statfs() has something.

--------------------------- file_operations ---------------------------
prototypes:
	int (*fasync) (int, struct file *, int);
};

locking rules:
	All may block.
`;

t.test('columns made with tabs', async (t) => {
  const [first, second] = parseDocument(TABBED);
  t.strictSame(first?.columns, ['s_umount']);
  t.strictSame(first?.operations.get('statfs')?.cells, ['maybe(read) (see below)']);
  t.strictSame(first?.operations.get('statfs')?.prototype, 'struct dentry *, struct kstatfs *');
  t.equal(first?.blocking, 'All may block [not true, see below]');
  t.strictSame([...(second?.operations.keys() ?? [])], ['fasync']);
  const found = brief(drift(TABBED));
  t.ok(found.includes('row added super_operations.write_super'));
  t.ok(found.includes('column removed super_operations note'));
  t.notOk(
    found.some((line) => line.startsWith('cell changed')),
    'a remark outside the columns is still the same text',
  );
  t.notOk(found.some((line) => line.includes('file_operations.fasync')));
});

t.test('as many cells as columns go in order, however the tabs fall', async (t) => {
  const [section] = parseDocument(
    'dentry_operations\nprototypes:\n\tint (*d_init)(struct dentry *);\n\nlocking rules:\n\t\trename_lock\t->d_lock\tmay block\trcu-walk\nd_init:\tno\t\tno\t\tyes\t\tno\nd_weak_revalidate:no\t\tno\t\tyes\t \tno\n',
  );
  t.strictSame(section?.operations.get('d_init')?.cells, ['no', 'no', 'yes', 'no']);
  t.strictSame(section?.operations.get('d_weak_revalidate')?.cells, ['no', 'no', 'yes', 'no']);
});

t.test('what cannot be read names its line', async (t) => {
  const failing = (text: string, line: number, message: RegExp) => {
    try {
      parseDocument(text);
      t.fail(`${message} is not noticed`);
    } catch (error) {
      t.ok(error instanceof DocumentError);
      t.match(error, { line, message });
    }
  };
  failing('', 1, /not a locking document/);
  failing('\n\nDear diary,\n', 3, /not a locking document/);
  failing('file_operations\n\nprototypes:\n\nnothing\n', 1, /no prototype/);
  failing(
    'a\nfile_operations\nprototypes:\n\tint (*fsync)(struct file *,\n\nlocking rules:\n',
    4,
    /fsync does not end/,
  );
  const tree = asReStructuredText().split('\n');
  const closing = tree.indexOf(tree.find((line) => line.startsWith('d_real')) ?? '') + 1;
  failing(
    tree
      .filter((_, index) => index !== closing)
      .slice(0, closing)
      .join('\n'),
    closing - 15,
    /never closed/,
  );
  const twice = plant(asReStructuredText(), /^(d_prune:.*\n)/m, '$1$1');
  const second = twice.split('\n').findLastIndex((line) => line.startsWith('d_prune:')) + 1;
  failing(twice, second, /second row of d_prune/);
});
