/** A daemon with little heap: new files, which the kernel remembers by the thousand, must not fill it. */
import { rmSync } from 'node:fs';
import t from 'tap';
import { latchfs, mount, sh } from './harness.js';

t.setTimeout(900_000);
const FILES = 16_000;

/** Names of 1000 files in each directory, each file with a page of data. */
const MAKE = `
import os, sys
for i in range(${FILES}):
    if i % 1000 == 0: os.mkdir(f'd{i // 1000}')
    with open(f'd{i // 1000}/f{i}', 'w') as f: f.write(str(i))
`;
const CHECK = `
import os
for i in range(0, ${FILES}, 16):
    with open(f'd{i // 1000}/f{i}') as f: assert f.read() == str(i), i
`;

t.test('64 MB of heap outlive sixteen thousand new files', async (t) => {
  const image = `/tmp/latchfs-small-heap-${process.pid}.img`;
  t.teardown(() => rmSync(image, { force: true }));
  t.equal((await sh(`${latchfs} mkfs ${image} --size 1G`)).status, 0);
  const before = process.env['NODE_OPTIONS'];
  process.env['NODE_OPTIONS'] = '--max-old-space-size=64';
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_OPTIONS'];
    else process.env['NODE_OPTIONS'] = before;
  });
  const m = await mount(image);
  try {
    const made = await m.sh(`python3 -c "${MAKE}"`, 600_000);
    t.equal(made.status, 0, made.stderr);
    const read = await m.sh(`python3 -c "${CHECK}"`, 300_000);
    t.equal(read.status, 0, read.stderr);
    t.notMatch(m.log(), /violation|"level":50/);
  } finally {
    t.equal(await m.unmount(), 0);
  }
  const checked = await sh(`${latchfs} fsck ${image}`);
  t.match(checked.stdout, /clean, 16017 inodes/, checked.stdout);
});
