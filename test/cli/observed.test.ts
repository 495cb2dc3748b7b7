/** `latchfs contract --observed` and `--coverage`. */
import { release } from 'node:os';
import t from 'tap';
import { measureCoverage, printCoverage } from '../../src/cli/contract-coverage.js';
import { printObserved } from '../../src/cli/contract-observed.js';
import { SCENES, type Scene } from '../../src/cli/workload/scenes/index.js';
import { ALL_ROWS } from '../../src/contract/index.js';
import { inode_operations } from '../../src/contract/inode.js';
import { call } from '../../src/locking/context.js';
import { Task } from '../../src/sched/task.js';

class Sink {
  text = '';
  write(text: string): void {
    this.text += text;
  }
}

t.test('observation and document agree', async (t) => {
  const sink = new Sink();
  t.equal(await printObserved(sink), 0, sink.text.slice(-2000));
  t.match(sink.text, /inode_operations\.rename: called \d+ times, always with .*own .*i_rwsem/);
  t.match(sink.text, /Observation and document agree everywhere\./);
  const json = new Sink();
  t.equal(await printObserved(json, { json: true, scenes: SCENES.slice(0, 1) }), 0);
  const { observations, disagreements, broken } = JSON.parse(json.text);
  t.ok(observations.length > 20);
  t.same([disagreements, broken], [[], []]);
});

t.test('a call without its lock is a disagreement, and a scene that fails is told of', async (t) => {
  const careless: Scene = {
    name: 'careless',
    run: async (_sys, _other, sb) => {
      const task = new Task(sb.sched, sb.machine.validator, { comm: 'careless' });
      const lock = sb.s_root?.d_inode?.i_rwsem;
      if (lock !== undefined) call(task, inode_operations.setattr, { inode: lock }, () => undefined);
      throw new Error('no more');
    },
  };
  const sink = new Sink();
  t.equal(await printObserved(sink, { scenes: [careless] }), 1);
  t.match(sink.text, /disagree:\n {2}inode_operations\.setattr\/i_rwsem\/inode: .*otherwise in 1 of 1 calls/);
  t.match(sink.text, /the scene 'careless' fails: Error: no more/);
  t.match(sink.text, /in the scene 'careless': .*setattr/);
});

/** Older kernels ask for less. */
const older = Number(release().split('.')[0]) < 6;
const skip = process.getuid?.() !== 0 ? 'it mounts as root' : false;
t.test('operations are called through mounts and through system calls', { skip }, async (t) => {
  const covered = await measureCoverage();
  const calls = (name: string) => covered.find(({ section, op }) => `${section}.${op}` === name);
  for (const name of ['inode_operations.rename', 'file_operations.fsync', 'address_space_operations.writepages']) {
    const { mount = 0, syscalls = 0 } = calls(name) ?? {};
    t.ok(mount > 0 && syscalls > 0, name);
  }
  t.equal(calls('super_operations.remount_fs')?.mount, 0, 'the kernel asks nobody');
  t.ok((calls('super_operations.remount_fs')?.syscalls ?? 0) > 0);
  for (const row of ALL_ROWS) {
    const name = `${row.section}.${row.op}`;
    const { mount = 0, syscalls = 0 } = calls(name) ?? {};
    const ways = [
      ...(mount > 0 || (older && row.reach.includes('mount')) ? ['mount'] : []),
      ...(syscalls > 0 ? ['syscalls'] : []),
    ];
    t.same(ways, row.reach, `the contract says from where ${name} is reached`);
  }
  const sink = new Sink();
  t.equal(printCoverage(sink, covered), 0, 'none is only declared');
  t.match(sink.text, /139 of 139 operations called: \d+ through a mount, 139 through system calls/);
});

t.test('what is not called is named, and is the exit status', (t) => {
  const row = { section: 'inode_operations', mount: 0 };
  const sink = new Sink();
  t.equal(printCoverage(sink, [{ ...row, op: 'lookup', syscalls: 2 }]), 0);
  t.notMatch(sink.text, /not called/);
  t.equal(
    printCoverage(sink, [
      { ...row, op: 'lookup', syscalls: 2 },
      { ...row, op: 'link', syscalls: 0 },
    ]),
    1,
  );
  t.match(
    sink.text,
    /1 of 2 operations called: 0 through a mount, 1 through system calls\nnot called: inode_operations\.link/,
  );
  t.end();
});
