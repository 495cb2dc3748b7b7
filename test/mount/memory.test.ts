/** What a mount in memory costs: what it stores, and nothing of what was deleted. Read from /proc, as the system sees it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import t from 'tap';
import { withMount } from './harness.js';

/** What the process may take beside the bytes stored: the page cache, buffers and tables of the mount, the heap. */
const OVERHEAD = 320;
/** What may stay of a gigabyte that came and went: freed slots kept back, and heap that no collection has visited yet. */
const REMAINS = 160;
/** Milliseconds for commands that move a gigabyte on a machine that has other things to do. */
const PATIENCE = 600_000;

/** MiB of memory that a daemon's process has. */
function resident(pid: number | undefined): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return Number(match?.[1]) / 1024;
}

/** As resident, once it is below `limit`, or ten seconds later: buffers that were let go leave the process when a collection finds them unused. */
async function settled(pid: number | undefined, limit: number): Promise<number> {
  for (let tries = 0; tries < 20 && resident(pid) >= limit; tries++) await setTimeout(500);
  return resident(pid);
}

t.test('1 GiB in files takes 1 GiB, and deleting them gives it back', async (t) => {
  await withMount('memory:4G', 'allow_other', async (mounted) => {
    const { pid } = mounted.daemon;
    const before = resident(pid);
    const source = join(mounted.dir, '..', 'source');
    const stored = await mounted.sh(
      `dd if=/dev/urandom of=${source} bs=1M count=64 status=none
       for i in $(seq 16); do cp ${source} file$i; done; cmp ${source} file9; sync -f .`,
      PATIENCE,
    );
    t.equal(stored.status, 0, stored.stderr);
    const full = resident(pid);
    t.ok(full - before > 1000, `resident: ${Math.round(full - before)} MiB more with 1 GiB stored`);
    t.ok(full - before < 1024 + OVERHEAD, 'and not twice as much, though files are cached');
    const removed = await mounted.sh('rm file*', PATIENCE);
    t.equal(removed.status, 0, removed.stderr);
    const after = await settled(pid, before + REMAINS);
    t.ok(after - before < REMAINS, `resident: ${Math.round(after - before)} MiB more after rm`);
    t.equal(mounted.log().includes('"kind"'), false, 'no violation');
  });
  t.end();
});

t.test('small files go back to the system as well, though no slab of them becomes empty', async (t) => {
  await withMount('memory:4G', 'allow_other,page_cache=8M', async (mounted) => {
    const { pid } = mounted.daemon;
    const before = resident(pid);
    const made = await mounted.sh(
      'head -c 512K /dev/urandom >../part; for i in $(seq -w 128); do cp ../part f$i; done; sync -f .',
      PATIENCE,
    );
    t.equal(made.status, 0, made.stderr);
    const full = resident(pid);
    t.ok(full - before > 60, `resident: ${Math.round(full - before)} MiB more with 128 files of 512 KiB`);
    // Three of four: some of each slab of 2 MiB stays in use.
    const removed = await mounted.sh('rm f??[1235679]; ls | wc -l', PATIENCE);
    t.equal(removed.stdout.trim(), '38', removed.stderr);
    const after = resident(pid);
    t.ok(full - after > 25, `resident: ${Math.round(after - before)} MiB more with 38 of them left`);
  });
  t.end();
});

t.test('a sparse file of 1 TiB costs what it stores', async (t) => {
  await withMount('memory:2T', 'allow_other', async (mounted) => {
    const { pid } = mounted.daemon;
    const before = resident(pid);
    const made = await mounted.sh(
      `truncate -s 1T sparse
       for i in $(seq 0 63); do printf x | dd of=sparse bs=1 seek=$((i * 17179869184 + 4096)) conv=notrunc status=none; done
       sync -f .; stat -c '%s %b' sparse; du -k sparse | cut -f1`,
      PATIENCE,
    );
    t.equal(made.status, 0, made.stderr);
    t.equal(made.stdout, `${2 ** 40} ${(64 * 4096) / 512}\n${64 * 4}\n`, 'its size, its blocks, its kilobytes');
    const stored = resident(pid);
    t.ok(stored - before < 64, `resident: ${Math.round(stored - before)} MiB more`);
    const read = await mounted.sh('tail -c 8M sparse | md5sum; head -c 8M /dev/zero | md5sum', PATIENCE);
    const [ours, zeroes] = read.stdout.split('\n');
    t.equal(ours, zeroes, 'a hole reads as zeroes');
  });
  t.end();
});

t.test('page_cache= bounds what is cached', async (t) => {
  await withMount('memory:1G', 'allow_other,page_cache=8M', async (mounted) => {
    const { pid } = mounted.daemon;
    const before = resident(pid);
    const ran = await mounted.sh(
      'head -c 128M /dev/urandom >big; md5sum <big >../a; md5sum <big >../b; cmp ../a ../b',
      PATIENCE,
    );
    t.equal(ran.status, 0, ran.stderr);
    const grown = resident(pid) - before;
    t.ok(grown < 128 + 96, `resident: ${Math.round(grown)} MiB more for 128 MiB`);
  });
  t.end();
});
