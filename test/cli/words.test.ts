/** What is said where there is no Node.js that could say anything else. */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { checkNode } from '../../src/cli/words.js';
import { latchfs, run } from '../mount/harness.js';

t.test('an old Node', async (t) => {
  const refused = (version: string): unknown =>
    t.throws(() => checkNode(version), { message: /too old: install/, status: 1 });
  for (const version of ['v18.20.4', 'v20.14.0', 'v0.12.1']) refused(version);
  for (const version of ['v20.15.0', 'v20.15.0-pre', 'v22.0.0', 'v100.1.1', process.version]) checkNode(version);
});

t.test('no Node', async (t) => {
  const bare = mkdtempSync(join(tmpdir(), 'latchfs-bare-'));
  t.teardown(() => rmSync(bare, { recursive: true }));
  for (const tool of ['sh', 'env', 'readlink', 'dirname']) {
    const found = (await run('sh', ['-c', `command -v ${tool}`])).stdout.trim();
    symlinkSync(found, join(bare, tool));
  }
  const ran = await run('env', [`PATH=${bare}`, latchfs, '--version']);
  t.same(ran, {
    status: 1,
    stdout: '',
    stderr: 'latchfs: there is no node: install Node.js, version 20.15 or later\n',
  });
});
