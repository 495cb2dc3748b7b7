/** What `latchfs contract` prints, and with which status. */
import t from 'tap';
import { printContract, UnknownOperation } from '../../src/cli/contract.js';
import { printDrift } from '../../src/cli/contract-against.js';
import { printDubious } from '../../src/cli/contract-dubious.js';
import { ALL_ROWS, SECTIONS } from '../../src/contract/index.js';
import { asPlainText } from '../contract/documents.js';

class Sink {
  text = '';
  write(text: string): void {
    this.text += text;
  }
}

const printed = (op?: string, json = false): string => {
  const sink = new Sink();
  printContract(sink, op, { json });
  return sink.text;
};

t.test('the whole table', async (t) => {
  const text = printed();
  for (const section of SECTIONS) t.ok(text.includes(`${section}\n`), section);
  for (const row of ALL_ROWS) t.ok(text.includes(`│ ${row.op} `), row.op);
  t.ok(text.includes('exclusive (both)(see below)'));
});

t.test('one operation whole, locks in order', async (t) => {
  const text = printed('rename');
  const order = [
    's_vfs_rename_sem of sb',
    'i_rwsem of old_dir',
    'i_rwsem of new_dir',
    'i_rwsem of source',
    'i_rwsem of victim',
  ];
  const places = order.map((words) => text.indexOf(words));
  t.ok(places.every((place) => place > 0));
  t.strictSame(
    places.toSorted((a, b) => a - b),
    places,
  );
  t.match(text, /when\s+cross-directory/);
  t.match(text, /checked by\s+call-wrapper/);
  t.match(text, /reached from\s+mount, syscalls/);
  t.match(printed('read_folio'), /released by the operation/);
  t.match(printed('write_begin'), /held at the return, for the caller to release/);
  t.match(printed('write_begin'), /may keep locked {6}what is its own, until write_end/);
  t.match(printed('free_folio'), /may block\s+no; checked by might-sleep/);
  t.equal(printed('open').match(/^\w+\.open$/gm)?.length, 3, 'a name that three sections have is printed three times');
});

t.test('JSON', async (t) => {
  const rows = JSON.parse(printed(undefined, true));
  t.equal(rows.length, ALL_ROWS.length);
  for (const row of rows) {
    t.strictSame(Object.keys(row), ['section', 'op', 'cells', 'mayBlock', 'rules', 'reach']);
    for (const rule of row.rules)
      t.strictSame(Object.keys(rule), ['id', 'lock', 'mode', 'when', 'heldBy', 'checkedBy']);
  }
  t.strictSame(JSON.parse(printed('rmdir', true))[0].cells, { 'i_rwsem(inode)': 'exclusive (both)(see below)' });
});

t.test('an unknown operation is one line with what is near', async (t) => {
  t.throws(() => printed('renmae'), { message: "the contract has no operation 'renmae'; did you mean rename?" });
  t.throws(() => printed('inode_operations.unlnk'), { message: /did you mean inode_operations\.unlink/ });
  t.throws(() => printed('qqqqqqqq'), new UnknownOperation('qqqqqqqq', []));
  t.throws(() => printed(''), { name: 'UnknownOperation', near: [] });
});

t.test('drift: what is printed and the status', async (t) => {
  const run = (text: string, json = false) => {
    const out = new Sink();
    const errors = new Sink();
    const status = printDrift(out, errors, 'doc.txt', text, { json });
    return { status, out: out.text, errors: errors.text };
  };
  t.strictSame(run(asPlainText()), { status: 0, out: 'doc.txt: no drift\n', errors: '' });
  const changed = run(asPlainText().replace('setattr:\n\nexclusive', 'setattr:\n\nshared'));
  t.equal(changed.status, 1);
  t.match(
    changed.out,
    /^doc\.txt:\d+: cell changed: inode_operations\.setattr \[i_rwsem\(inode\)\]: 'exclusive' in the contract, 'shared' in the document\n1 difference\n$/,
  );
  t.strictSame(JSON.parse(run(asPlainText(), true).out), []);
  const broken = run('no such thing');
  t.strictSame([broken.status, broken.out], [2, '']);
  t.match(broken.errors, /^doc\.txt:1: this is not a locking document[^\n]*\n$/);
});

t.test('dubious', async (t) => {
  const sink = new Sink();
  printDubious(sink);
  t.match(sink.text, /inode_operations\.truncate#no-row \(self-contradiction\)/);
  t.match(sink.text, /\d+ findings\n$/);
  const json = new Sink();
  printDubious(json, { json: true });
  t.ok(JSON.parse(json.text).length > 20);
});
