/** The findings: unique, about rows that exist, and where the document contradicts itself all there. */
import t from 'tap';
import { DUBIOUS, dubiousOf } from '../../src/contract/dubious.js';
import { ALL_ROWS, findRow } from '../../src/contract/index.js';

t.test('findings are about rows of the contract', async (t) => {
  t.equal(new Set(DUBIOUS.map(({ id }) => id)).size, DUBIOUS.length);
  for (const finding of DUBIOUS) {
    const about = finding.op === undefined ? finding.section : `${finding.section}.${finding.op}`;
    t.ok(finding.id.startsWith(`${about}#`), finding.id);
    if (finding.op !== undefined) t.ok(findRow(about), finding.id);
    t.ok(finding.evidence !== '' && finding.says !== '' && finding.here !== '', finding.id);
  }
});

t.test('a row without a prototype, a prototype without a row', async (t) => {
  for (const row of ALL_ROWS.filter(({ prototype }) => prototype === undefined)) {
    t.ok(
      dubiousOf(row.section, row.op).some(({ id }) => id.endsWith('#no-prototype')),
      row.op,
    );
  }
  t.ok(dubiousOf('inode_operations', 'truncate').some(({ id }) => id.endsWith('#no-row')));
});

t.test('an operation that may not block in a section that all may has a finding', async (t) => {
  for (const row of ALL_ROWS.filter(({ section, mayBlock }) => section === 'super_operations' && mayBlock === 'no')) {
    t.ok(
      dubiousOf(row.section, row.op).some(({ id }) => id === 'super_operations#all-may-block'),
      row.op,
    );
  }
});
