/** `.latchfs/quota`: the table, and the commands. */

import t from 'tap';
import { aligned, quotaFile } from '../../src/control/quota.js';
import { GRPQUOTA, USRQUOTA } from '../../src/fs/quota/types.js';
import { Process, syscalls } from '../../src/fs/syscalls.js';
import { O_CREAT, O_RDWR } from '../../src/uapi/fcntl.js';
import { Q_GETINFO, Q_GETQUOTA, Q_SETQUOTA } from '../../src/uapi/quota.js';
import { newWorld, outcome, user } from '../fs/world.js';

t.test('what is read and what is written', async (t) => {
  const world = await newWorld({ quota: true });
  const { sb } = world;
  const refused: string[] = [];
  const file = quotaFile({ sb, refused: (message) => refused.push(message) });
  const show = (): Promise<string> => world.run((task) => file.show(task));
  const write = (text: string): Promise<string> => world.run((task) => outcome(() => file.write?.(task, text)));
  const processes = [new Process(sb, {}), new Process(sb, { cred: user(1000, 50) })] as const;
  const [root, own] = [syscalls(processes[0]), syscalls(processes[1])];
  t.match(await show(), /^user off\nuser grace blocks 604800 inodes 604800\ngroup off\n/);
  t.equal(await write('user on\ngroup on\n\n# a comment\nuser grace inodes 60\n'), 'ok');
  t.equal(await write('  user 1000   blocks 1M 2M inodes 1 5\ngroup 50 blocks 0 3000'), 'ok');
  t.match(await root.quotactl(Q_GETQUOTA, USRQUOTA, sb, 1000), {
    dqb_bsoftlimit: 1024,
    dqb_bhardlimit: 2048,
    dqb_isoftlimit: 1,
    dqb_ihardlimit: 5,
  });
  t.match(await root.quotactl(Q_GETQUOTA, GRPQUOTA, sb, 50), { dqb_bhardlimit: 3000, dqb_ihardlimit: 0 });
  t.match(await root.quotactl(Q_GETINFO, USRQUOTA, sb), { dqi_bgrace: 604800, dqi_igrace: 60 });
  t.equal(await write('user 1000 inodes 2 6'), 'ok');
  t.match(
    await root.quotactl(Q_GETQUOTA, USRQUOTA, sb, 1000),
    { dqb_bhardlimit: 2048, dqb_ihardlimit: 6 },
    'one of both',
  );
  await root.chmod('/', 0o777);
  for (const name of ['/a', '/b', '/c']) {
    const fd = await own.open(name, O_CREAT | O_RDWR, 0o644);
    await own.write(fd, Buffer.alloc(3000));
    await own.close(fd);
  }
  const text = await show();
  t.match(text, /^user on\nuser grace blocks 604800 inodes 60\ngroup on\ngroup grace blocks 604800 inodes 604800\n/);
  t.match(text, /\ntype +id +KiB +soft +hard +grace +inodes +soft +hard +grace\n/);
  t.match(text, /\nuser +0 +0 +0 +0 +- +1 +0 +0 +-\n/);
  t.match(text, /\nuser +1000 +12 +1024 +2048 +- +3 +2 +6 +(60|59|58)\n/);
  t.match(text, /\ngroup +50 +12 +0 +3000 +- +3 +0 +0 +-\n/);
  for (const [command, why] of [
    ['nobody 5 blocks 1 2', "expected user, group or project, not 'nobody'"],
    ['user', "an id is a number, not ''"],
    ['user me blocks 1 2', "an id is a number, not 'me'"],
    ['user 4294967295 blocks 1 2', 'there is no id 4294967295'],
    ['user 5', 'expected blocks or inodes'],
    ['user 5 bytes 1 2', "expected blocks or inodes, not 'bytes'"],
    ['user 5 blocks 1', "a hard limit of blocks is a number, not ''"],
    ['user 5 blocks 1 2 blocks 3 4', 'blocks is there twice'],
    ['user 5 blocks -1 2', "a soft limit of blocks is a number, not '-1'"],
    ['user 5 inodes 1 2M', "a hard limit of inodes is a number, not '2M'"],
    ['user on please', "on takes no argument, not 'please'"],
    ['user grace', 'expected blocks or inodes'],
    ['user grace blocks week', "a grace time is a number, not 'week'"],
  ] as const) {
    t.equal(await write(command), 'EINVAL', command);
    t.equal(refused.pop(), `quota: EINVAL: ${why}`);
  }
  t.equal(await write('user on'), 'EEXIST');
  t.equal(await write('user off\nuser off'), 'EEXIST');
  t.equal(await write('user 5 blocks 0 999999999999999T'), 'ERANGE');
  for (const process of processes) await process.exit();
  t.equal(await world.end(), 0);
  t.same(
    world.violations.map(({ message }) => message),
    [],
  );
});

t.test('a filesystem without quotas says so', async (t) => {
  const world = await newWorld();
  const file = quotaFile({ sb: world.sb, refused: () => undefined });
  t.match(await world.run((task) => file.show(task)), /^no quotas: mount with -o usrquota,grpquota,prjquota$/m);
  t.equal(await world.run((task) => outcome(() => file.write?.(task, 'user on'))), 'ENOSYS');
  await world.end();
});

t.test('a table of more rows than a function takes arguments', async (t) => {
  const rows = Array.from({ length: 200_000 }, (_, id) => ['user', String(id)]);
  const lines = aligned(rows).split('\n');
  t.equal(lines.length, 200_001);
  t.equal(lines[0], 'user       0');
  t.equal(lines[199_999], 'user  199999');
});

t.test('others have their turn while a long table is made', async (t) => {
  const OWNERS = 50;
  const world = await newWorld({ quota: true });
  const { sb } = world;
  const root = new Process(sb, {});
  for (let id = 1; id <= OWNERS; id++) {
    await syscalls(root).quotactl(Q_SETQUOTA, USRQUOTA, sb, id, { dqb_ihardlimit: id });
  }
  const { sched } = world.machine;
  const plain = sched.yield;
  let turns = 0;
  sched.yield = () => {
    turns++;
    return plain.call(sched);
  };
  const file = quotaFile({ sb, refused: () => undefined });
  t.match(await world.run((task) => file.show(task)), new RegExp(`\nuser +${OWNERS} +0 `));
  t.ok(turns >= OWNERS, `${turns} turns`);
  await root.exit();
  t.equal(await world.end(), 0);
});
