/**
 * Large directories, sparse files and extended attributes on real mounts. With LATCHFS_LONG=1 the directory has a million names, and the daemon's memory is
 * looked at; otherwise a few thousand.
 */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { latchfs, mount, onTmpfs, type Ran, root, run, withMount } from './harness.js';

t.setTimeout(3_600_000);
const long = process.env['LATCHFS_LONG'] === '1';
const child = fileURLToPath(new URL('./trees-child.js', import.meta.url));

function work(kind: string, dir: string, count = 0, daemon = 0): Promise<Ran> {
  return run(process.execPath, ['--enable-source-maps', child, kind, dir, String(count), String(daemon)], {
    cwd: root,
    timeout: long ? 3_000_000 : 300_000,
  });
}

async function done(t: Test, kind: string, dir: string, count = 0, daemon = 0): Promise<unknown> {
  const ran = await work(kind, dir, count, daemon);
  t.equal(ran.status, 0, `${kind}${ran.status === 0 ? '' : `: ${ran.stderr.slice(-1500)}`}`);
  return ran.status === 0 ? JSON.parse(ran.stdout) : undefined;
}

/** MiB that a process has in memory. */
function memoryOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

async function blocksInUse(dir: string): Promise<number> {
  const { stdout } = await run('stat', ['-f', '-c', '%b %f', dir]);
  const [all = 0, free = 0] = stdout.split(' ').map(Number);
  return all - free;
}

/** Files of the directory. */
const MANY = long ? 1_000_000 : 8000;

/** How much more a create may cost at the end. Of few creates each tenth takes so little time that chance has a say. */
const TIMES = long ? 2 : 3;

/** @param made what `many` of trees-child.ts has measured */
function flat(t: Test, made: unknown): void {
  const { first, last } = (made as { create: { first: number; last: number } }).create;
  const costs = `a create costs ${Math.round(first)} µs at the start and ${Math.round(last)} µs at the end of ${MANY}`;
  t.ok(last <= TIMES * first, costs);
  t.comment(made);
}

t.test('a directory of many names, a sparse file, and what they leave behind', async (t) => {
  const mounted = await mount('memory:8G');
  try {
    await mounted.sh('mkdir warm; touch warm/file; rm -r warm; sync');
    const before = await blocksInUse(mounted.dir);
    flat(t, await done(t, 'many', mounted.dir, MANY, mounted.daemon.pid));
    t.comment(await done(t, 'manyGone', mounted.dir, MANY, mounted.daemon.pid));
    await mounted.sh('sync');
    const after = await blocksInUse(mounted.dir);
    t.ok(after <= before + 2, `all blocks are given back: ${before} in use before, ${after} after`);
    await done(t, 'sparse', mounted.dir, long ? 50_000 : 1500);
    await mounted.sh('rm sparse; sync');
    t.ok((await blocksInUse(mounted.dir)) <= before + 2, 'those of the sparse file too');
    if (long) {
      const memory = memoryOf(mounted.daemon.pid ?? 0);
      t.ok(memory < 900, `the daemon is left with ${Math.round(memory)} MiB`);
    }
    t.notMatch(mounted.log(), /violation|"level":50/, 'nothing failed inside');
  } finally {
    t.equal(await mounted.unmount(), 0);
  }
});

t.test('a directory of many names on an image', async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-trees-'));
  const image = join(scratch, 'image');
  try {
    t.equal((await run(latchfs, ['mkfs', image, '--size', '4G'])).status, 0);
    const first = await mount(image);
    flat(t, await done(t, 'many', first.dir, MANY, first.daemon.pid));
    t.notMatch(first.log(), /violation|"level":50/, 'nothing failed inside');
    t.equal(await first.unmount(), 0);
    const full = await run(latchfs, ['fsck', image], { timeout: 1_200_000 });
    t.match(full.stdout, new RegExp(`clean, ${MANY + 2} inodes`), full.stderr);
    const second = await mount(image);
    t.comment(await done(t, 'manyGone', second.dir, MANY, second.daemon.pid));
    t.notMatch(second.log(), /violation|"level":50/, 'nothing failed inside');
    t.equal(await second.unmount(), 0);
    const empty = await run(latchfs, ['fsck', image], { timeout: 1_200_000 });
    t.match(empty.stdout, /clean, 1 inode/, empty.stderr);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});

t.test('an image has them again after a mount', async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-trees-'));
  const image = join(scratch, 'image');
  try {
    writeFileSync(image, '');
    truncateSync(image, 1 << 30);
    const made = await run(latchfs, ['mkfs', image, '--size', '1G']);
    t.equal(made.status, 0, made.stderr);
    const first = await mount(image);
    await done(t, 'keep', first.dir, 1500);
    await done(t, 'sparse', first.dir, 1500);
    await done(t, 'large', first.dir, 2);
    t.equal(await first.unmount(), 0);
    const second = await mount(image);
    await done(t, 'kept', second.dir, 1500);
    await done(t, 'sparseKept', second.dir, 1500);
    await done(t, 'largeKept', second.dir, 2);
    t.notMatch(second.log(), /violation|"level":50/, 'nothing failed inside');
    t.equal(await second.unmount(), 0);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});

t.test('extended attributes answer as those of tmpfs', async (t) => {
  const tmpfs = await onTmpfs();
  try {
    const theirs = tmpfs === undefined ? undefined : await work('xattrs', tmpfs.dir);
    await withMount('memory:64M', 'allow_other', async ({ dir }) => {
      const ours = await done(t, 'xattrs', dir);
      const skip = theirs?.status === 0 ? false : `tmpfs cannot answer here: ${theirs?.stderr ?? 'there is none'}`;
      t.same(ours, skip === false ? JSON.parse(theirs?.stdout ?? '') : undefined, 'as on tmpfs', { skip });
    });
  } finally {
    await tmpfs?.remove();
  }
});
