/** A log that cannot be written harms nobody, and goes on when it can. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { openLog } from '../../src/report/log.js';
import { LogFile } from '../../src/report/log-file.js';

const scratch = mkdtempSync(join(tmpdir(), 'latchfs-log-'));
t.teardown(() => rmSync(scratch, { recursive: true }));

t.test('records are appended, and follow the name after reopen', async (t) => {
  const path = join(scratch, 'log');
  const to = new LogFile(path);
  const log = openLog({ level: 'info', to });
  log.info('one');
  renameSync(path, `${path}.1`);
  log.info('two');
  t.notOk(existsSync(path), 'until it is told, it writes on into the old file');
  to.reopen();
  log.info('three');
  const messages = (name: string): unknown[] =>
    readFileSync(name, 'utf8')
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
  t.match(messages(`${path}.1`), [{ msg: 'one' }, { msg: 'two' }]);
  t.match(messages(path), [{ msg: 'three' }]);
});

t.test('where the name cannot be opened any more, the old file goes on', async (t) => {
  const dir = join(scratch, 'dir');
  mkdirSync(dir);
  const to = new LogFile(join(dir, 'log'));
  renameSync(join(dir, 'log'), join(scratch, 'kept'));
  rmdirSync(dir);
  to.reopen();
  to.write('still\n');
  t.equal(readFileSync(join(scratch, 'kept'), 'utf8'), 'still\n');
});

t.test('a full disk is no failure', { skip: !existsSync('/dev/full') && 'no /dev/full' }, async (t) => {
  const log = openLog({ level: 'info', to: new LogFile('/dev/full') });
  t.doesNotThrow(() => log.error('nobody will read this'));
  t.throws(() => new LogFile(join(scratch, 'none', 'log')), { code: 'ENOENT' });
});

t.test('a pipe from which nobody reads is refused, and not waited for', async (t) => {
  const pipe = join(scratch, 'pipe');
  execFileSync('mkfifo', [pipe]);
  t.throws(() => new LogFile(pipe), { code: 'ENXIO' });
});
