/** The places of operations under way: found again wherever they stand. */
import t from 'tap';
import { ALL_ROWS } from '../../src/contract/index.js';
import { OpNode, OpNodes } from '../../src/sched/op-node.js';

t.test('each is found, however many there are and however often each is called', async (t) => {
  const nodes = new OpNodes();
  const all = ALL_ROWS.map((row) => new OpNode(row, undefined, {}));
  for (const node of all) {
    t.equal(nodes.find(node.row), undefined);
    nodes.add(node);
  }
  // What is called often moves among those that are not, past the border of the list that is looked through one by one.
  for (let round = 0; round < 400; round++) {
    for (const [i, node] of all.entries()) {
      if (i % 5 !== 0 && round % 20 !== 0) continue;
      const found = nodes.find(node.row);
      if (found !== node) t.fail(`${node.row.op} is not found in round ${round}`);
      node.calls++;
    }
  }
  for (const node of all) t.equal(nodes.find(node.row), node, node.row.op);
});
