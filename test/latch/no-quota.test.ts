/** Whatever the limits of quotas refuse, after any number of blocks or inodes, leaves things as they were; what takes things away is never refused; nothing is counted twice or forgotten. */

import t from 'tap';
import { type QuotaType, USRQUOTA } from '../../src/fs/quota/types.js';
import { AT_FDCWD, O_CREAT, O_RDWR, O_TMPFILE } from '../../src/uapi/fcntl.js';
import { RENAME_WHITEOUT } from '../../src/uapi/fs.js';
import { outcome } from '../fs/world.js';
import { settle } from './journal/crash-device.js';
import { BLOCK, INHERIT, Limited, limitedImage, project, TYPES } from './limited.js';
import { changes, type Op, syncs } from './sequences.js';
import { numbers } from './world.js';

/** NO_QUOTA=4 tries each call under limits of each type, with up to 4 blocks left; NO_QUOTA_ROUNDS=N plays N sequences, NO_QUOTA_SEED=SEED others. */
const MOST = Number(process.env['NO_QUOTA'] ?? 0);
const ROUNDS = Number(process.env['NO_QUOTA_ROUNDS'] ?? 4);
const FROM = Number(process.env['NO_QUOTA_SEED'] ?? 1);

const more: readonly Op[] = [
  { name: 'project /old', run: (sys) => project(sys, '/old', 43, 0) },
  { name: 'project /A', run: (sys) => project(sys, '/A', 43, INHERIT) },
  { name: 'chown /old', run: (sys) => sys.chown('/old', 5, 6) },
  {
    name: 'whiteout /old',
    run: (sys) => sys.renameat2(AT_FDCWD, '/old', AT_FDCWD, '/A/gone', RENAME_WHITEOUT),
  },
  {
    name: 'tmpfile',
    run: async (sys, _world, fill) => {
      const fd = await sys.open('/A', O_TMPFILE | O_RDWR, 0o600);
      try {
        await sys.pwrite(fd, Buffer.alloc(9000, fill), 4000);
      } finally {
        await sys.close(fd);
      }
    },
  },
  {
    name: 'long names',
    run: async (sys) => {
      for (let i = 0; i < 40; i++) await sys.link('/old', `/A/${i}${'n'.repeat(200)}`);
    },
  },
  {
    name: 'scattered writes to /scattered',
    run: async (sys, _world, fill) => {
      const fd = await sys.open('/scattered', O_CREAT | O_RDWR, 0o644);
      try {
        for (let i = 0; i < 90; i++) await sys.pwrite(fd, Buffer.alloc(10, fill), i * 2 * BLOCK);
        await sys.fsync(fd);
      } finally {
        await sys.close(fd);
      }
    },
  },
];
const OPS = [...changes, ...more];

/** @returns what the call came to, and what is wrong */
async function refused(
  image: Buffer,
  each: Op,
  type: QuotaType,
  blocks: number,
  inodes: number,
): Promise<{ why: string; wrong: string[] }> {
  const m = await Limited.mount(image);
  const ready = ['create /foo', 'mkdir /A/C', 'create /A/foo'].filter((name) => name !== each.name);
  for (const one of changes) if (ready.includes(one.name)) await one.run(m.sys, m.world, 1);
  if (/mkdir|rename \/A \/B/.test(each.name)) await outcome(() => m.sys.rmdir('/A/C'));
  for (let i = 0; i < 3; i++)
    await m.sys.mkdir(`/A/${i}${'n'.repeat(200)}`, 0o755).then(() => m.sys.rmdir(`/A/${i}${'n'.repeat(200)}`));
  await m.sys.sync();
  await m.limit(type, blocks, inodes);
  const why = await m.play(each, 100);
  await m.sys.sync();
  await settle();
  await m.compare('after writeback');
  await m.free();
  if (why === 'EDQUOT' && (await m.play(each, 101)) === 'EDQUOT')
    m.wrong.push('there are no limits, and it is refused');
  const wrong = await m.end();
  return {
    why,
    wrong: wrong.map((what) => `${each.name}, ${blocks} blocks and ${inodes} inodes of type ${type}, ${why}: ${what}`),
  };
}

t.test('a call that limits refuse changes nothing', async (t) => {
  const image = await limitedImage();
  const seen = new Set<string>();
  const limits = [...Array.from({ length: MOST + 1 }, (_, i) => [i, 99] as const), [99, 0] as const];
  for (const [i, each] of OPS.entries()) {
    for (const type of TYPES) {
      if (MOST === 0 && type !== i % 3) continue;
      for (const [blocks, inodes] of limits) {
        const { why, wrong } = await refused(image, each, type, blocks, inodes);
        for (const what of wrong) t.fail(what);
        if (why === 'EDQUOT') seen.add(each.name);
      }
    }
  }
  t.comment([...seen].join(', '));
  t.ok(seen.size > 20, `${seen.size} calls were refused`);
});

t.test('sequences of calls under limits that change', async (t) => {
  const image = await limitedImage();
  let count = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const choose = numbers(FROM + round);
    const m = await Limited.mount(image);
    const played: string[] = [];
    for (let i = 0; i < 25; i++) {
      if (choose(3) === 0) {
        const type = TYPES[choose(3)] ?? USRQUOTA;
        if (choose(5) === 0) await m.free();
        else await m.limit(type, choose(6), choose(4));
      }
      const each = choose(5) === 0 ? syncs[choose(syncs.length)] : OPS[choose(OPS.length)];
      if (each === undefined) continue;
      const why = await m.play(each, 1 + i);
      played.push(`${each.name}: ${why}`);
      if (why === 'EDQUOT') count++;
      if (m.wrong.length > 0) break;
    }
    await m.free();
    for (const what of await m.end()) t.fail(`seed ${FROM + round}: ${what}\n${played.join('\n')}`);
  }
  t.ok(count > ROUNDS, `${count} calls were refused`);
});
