/** The contract as a whole: complete, consistent, and unchanged cell by cell. */
import { createHash } from 'node:crypto';
import t from 'tap';
import { checkedBy } from '../../src/contract/checks.js';
import {
  ALL_ROWS,
  COLUMNS,
  CONTRACT,
  findRow,
  findRows,
  inode_operations,
  type Row,
  rowsOfSection,
  SECTIONS,
} from '../../src/contract/index.js';

const name = (row: Row): string => `${row.section}.${row.op}`;

t.test('counts', async (t) => {
  t.equal(SECTIONS.length, 13);
  t.equal(ALL_ROWS.length, 139);
  t.equal(ALL_ROWS.filter((row) => row.prototype !== undefined).length, 138);
  t.strictSame(ALL_ROWS.filter((row) => row.prototype === undefined).map(name), ['dentry_operations.d_prune']);
  t.equal(ALL_ROWS.flatMap((row) => Object.values(row.cells)).length, 170);
  const prose = new Set(ALL_ROWS.flatMap((row) => row.prose.map((rule) => `${row.section}#${rule.id.split('#')[1]}`)));
  t.ok(prose.size >= 50, `${prose.size} prose rules`);
});

t.test('the cells are those of the document', async (t) => {
  const cells = ALL_ROWS.map((row) => [
    row.section,
    row.op,
    COLUMNS[row.section].map((column) => row.cells[column] ?? ''),
  ]);
  const digest = createHash('sha256').update(JSON.stringify(cells)).digest('hex');
  t.equal(digest, '180771498a74ba4f58a84eceb971ed2c65b0326d3ac9f6ab913f48a847a0a8ab');
});

t.test('each section is named as its rows are', async (t) => {
  for (const section of SECTIONS) {
    for (const [key, row] of Object.entries(CONTRACT[section]) as [string, Row][]) {
      t.equal(row.section, section);
      t.equal(row.op, key);
      const columns: readonly string[] = COLUMNS[section];
      for (const column of Object.keys(row.cells))
        t.ok(columns.includes(column), `${name(row)} has a cell of ${column}`);
    }
    t.equal(rowsOfSection(section).length, Object.keys(CONTRACT[section]).length);
  }
});

t.test('ids are unique and say what they identify', async (t) => {
  const ids = ALL_ROWS.flatMap((row) => [...row.rules.map(({ id }) => id), ...row.prose.map(({ id }) => id)]);
  t.equal(new Set(ids).size, ids.length);
  for (const row of ALL_ROWS) {
    for (const rule of row.rules) {
      const tail = rule.variant === undefined ? '' : `/${rule.variant}`;
      t.equal(rule.id, `${name(row)}/${rule.lock}/${rule.of}${tail}`);
    }
    for (const rule of row.prose) {
      t.ok(rule.id.startsWith(`${name(row)}#`));
      t.ok(rule.at.startsWith(row.section), `${rule.id} says where it is said`);
    }
  }
});

t.test('every rule is consistent', async (t) => {
  for (const rule of ALL_ROWS.flatMap((row) => row.rules)) {
    if (rule.mode === 'none') t.strictSame([rule.heldBy, rule.atReturn], ['caller', 'none'], rule.id);
    else if (rule.heldBy === 'caller') t.ok(['held', 'released'].includes(rule.atReturn), rule.id);
    else t.ok(['acquired', 'none'].includes(rule.atReturn), rule.id);
    t.ok(checkedBy(rule).length > 0, rule.id);
  }
});

t.test('two rules of one lock of one role exclude each other by their conditions', async (t) => {
  for (const row of ALL_ROWS) {
    for (const rule of row.rules) {
      const others = row.rules.filter((other) => other !== rule && other.lock === rule.lock && other.of === rule.of);
      if (others.length === 0) continue;
      t.ok(rule.when !== undefined && rule.variant !== undefined, rule.id);
      t.ok(
        others.every((other) => other.when !== rule.when),
        rule.id,
      );
    }
  }
});

t.test('alternatives come in groups', async (t) => {
  for (const row of ALL_ROWS) {
    for (const rule of row.rules) {
      if (rule.oneOf === undefined) continue;
      t.ok(row.rules.filter((other) => other.oneOf === rule.oneOf).length > 1, rule.id);
    }
  }
});

t.test('blocking', async (t) => {
  for (const row of ALL_ROWS) {
    t.equal(row.blockCondition !== undefined, row.mayBlock === 'maybe', name(row));
    const cell = row.cells['may block'];
    if (cell === 'yes' || cell === 'no') t.equal(row.mayBlock, cell, name(row));
    else if (cell !== undefined) t.equal(row.mayBlock, 'maybe', name(row));
  }
  const never = ALL_ROWS.filter((row) => row.mayBlock === 'no' && row.cells['may block'] === undefined).map(name);
  t.strictSame(never, [
    'super_operations.free_inode',
    'super_operations.drop_inode',
    'address_space_operations.dirty_folio',
    'address_space_operations.free_folio',
    'buffer_head.b_end_io',
    'block_device_operations.swap_slot_free_notify',
    'vm_operations_struct.map_pages',
  ]);
});

t.test('a cell that names a mode has a rule of that mode', async (t) => {
  for (const row of ALL_ROWS) {
    const modes = new Set(row.rules.map(({ mode }) => mode));
    for (const text of Object.values(row.cells)) {
      if (text.startsWith('exclusive') || text === 'write') t.ok(modes.has('write'), name(row));
      if (text.startsWith('shared') || text === 'read') t.ok(modes.has('read'), name(row));
    }
  }
});

t.test('an operation is found by its name and by its full name', async (t) => {
  t.equal(findRow('rename'), inode_operations.rename);
  t.equal(findRow('inode_operations.rename'), inode_operations.rename);
  t.strictSame(findRows('open').map(name), [
    'block_device_operations.open',
    'file_operations.open',
    'vm_operations_struct.open',
  ]);
  t.equal(findRow('renmae'), undefined);
});

t.test('rows keep their literal types', async (t) => {
  type Unlink = (typeof inode_operations.unlink.rules)[number];
  type Exactly<A, B> = [A, B] extends [B, A] ? true : false;
  // Neither line compiles where the literal is lost.
  const mode: Exactly<Unlink['mode'], 'write'> = true;
  const roles: Exactly<Unlink['of'], 'dir' | 'victim'> = true;
  t.ok(mode && roles);
  t.strictSame(
    inode_operations.unlink.rules.map((rule) => [rule.mode, rule.of]),
    [
      ['write', 'dir'],
      ['write', 'victim'],
    ],
  );
});
