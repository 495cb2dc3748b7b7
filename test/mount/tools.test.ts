/** Real tools on a mount: what people do with a filesystem all day. */
import { statSync } from 'node:fs';
import t, { type Test } from 'tap';
import { type Mounted, mount, root, run } from './harness.js';

// The real tools take their time; each has its own limit.
t.setTimeout(900_000);
const needsRoot = process.getuid?.() !== 0 ? 'mounts as root' : false;

async function ok(t: Test, mounted: Mounted, script: string, what: string, timeout = 180_000): Promise<string> {
  const ran = await mounted.sh(script, timeout);
  t.equal(ran.status, 0, `${what}${ran.status === 0 ? '' : `: ${ran.stdout.slice(-800)}${ran.stderr.slice(-800)}`}`);
  return ran.stdout;
}

t.test('an ordinary day on a memory filesystem', { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const mounted = await mount('memory:2G');
  try {
    const suite = await run(`${root}scripts/check`, [mounted.dir], { timeout: 300_000 });
    t.match(suite.stdout, /\d+ passed, 0 failed/, `the shell suite passes${suite.status === 0 ? '' : suite.stdout}`);

    await ok(
      t,
      mounted,
      `git init -q --bare origin.git; git init -q src; cd src; git config user.email a@b; git config user.name n
       for i in $(seq 1 2000); do echo "$i" >"f$i"; done; git add . ; git commit -qm all; git push -q ../origin.git HEAD:main
       cd ..; git clone -q -b main origin.git copy; cd copy; git fsck --strict; [ "$(ls | wc -l)" = 2000 ]; [ -z "$(git status --porcelain)" ]`,
      'git makes, pushes, clones and checks 2,000 files',
    );
    const rows = `INSERT INTO t SELECT value, hex(randomblob(16)) FROM generate_series(1, 100000);`;
    const checks = await ok(
      t,
      mounted,
      `sqlite3 db.sqlite 'PRAGMA journal_mode=WAL; PRAGMA mmap_size=268435456; CREATE TABLE t(a, b); ${rows} CREATE INDEX i ON t(b); SELECT count(*) FROM t; PRAGMA integrity_check;'`,
      'sqlite with WAL and mmap',
    );
    t.match(checks, /100000\nok/, 'sqlite finds its 100,000 rows, and the database whole');
    const differences = await ok(
      t,
      mounted,
      `mkdir tree; cd tree; for d in $(seq 1 20); do mkdir d$d; for f in $(seq 1 50); do echo "$d/$f" >d$d/f$f; done; done
       ln d1/f1 hard; ln -s d1/f2 soft; chmod 751 d2; touch -d '2001-02-03 04:05:06.789' d3/f3; setfattr -n user.k -v v d4/f4; chown 12:34 d5/f5
       cd ..; tar --xattrs -cf t.tar tree; mkdir out; tar --xattrs --xattrs-include='*' -xpf t.tar -C out
       rsync -aHX --checksum --dry-run -i tree/ out/tree/; find tree out -name hard -printf '%n\\n'`,
      'tar there and back',
    );
    t.equal(differences, '2\n2\n', 'rsync finds no difference in contents, modes, owners, times, links and xattrs');
    for (const [how, options] of [
      ['buffered', '--ioengine=psync'],
      ['direct', '--ioengine=psync --direct=1'],
      ['mmap', '--ioengine=mmap'],
    ]) {
      await ok(
        t,
        mounted,
        `fio --name=v --directory=. --rw=randwrite --bs=4k --size=8m --numjobs=4 --verify=crc32c --verify_fatal=1 ${options} >/dev/null; rm -f v.*`,
        `fio writes and verifies, ${how}`,
      );
    }
    await ok(
      t,
      mounted,
      `mkdir c; cd c; for i in $(seq 1 20); do echo "int f$i(void) { return $i; }" >f$i.c; done
       { for i in $(seq 1 20); do echo "int f$i(void);"; done; echo 'int main(void) { return f1() + f20() - 21; }'; } >main.c
       printf 'OBJ=$(patsubst %%.c,%%.o,$(wildcard *.c))\\nprog: $(OBJ)\\n\\t$(CC) -o $@ $(OBJ)\\n' >Makefile; make -s -j4; ./prog`,
      'a C project builds with make -j and runs from the mount',
    );
    await ok(
      t,
      mounted,
      `truncate -s 1T big; echo end >>big; [ "$(du -k big | cut -f1)" -lt 100 ]; tail -c 4 big | grep -q end
       cp --sparse=always big copy.big; [ "$(du -k copy.big | cut -f1)" -lt 100 ]; rm big copy.big`,
      'a sparse file of 1 TiB costs what it stores',
    ).catch(() => undefined);
    t.notMatch(mounted.log(), /locking violation/, 'no lock rule was broken');
    t.notMatch(mounted.log(), /"level":50/, 'nothing failed inside');
  } finally {
    t.equal(await mounted.unmount(), 0, 'it unmounts cleanly and ends with status 0');
  }
});

t.test('an image keeps its tree over a remount', { skip: needsRoot, timeout: 120_000 }, async (t) => {
  const image = `/tmp/latchfs-test-${process.pid}.img`;
  const made = await run(`${root}scripts/latchfs`, ['mkfs', image, '--size', '256M']);
  t.equal(made.status, 0, `mkfs: ${made.stderr}`);
  try {
    const listing = `find . -printf '%P %y %m %U %G %n %s %T@ %l\\n' | sort; find . -type f -exec sha256sum {} + | sort`;
    let before = '';
    for (const round of [1, 2, 3]) {
      const mounted = await mount(image);
      try {
        if (round > 1) t.equal((await mounted.sh(listing)).stdout, before, `round ${round}: all as it was`);
        const work = await mounted.sh(
          `mkdir -p r${round}/sub; for i in $(seq 1 200); do head -c $((i * 97)) /dev/urandom >r${round}/f$i; done
           rm -f r${round}/f1?; ln r${round}/f20 r${round}/link; ln -s f21 r${round}/soft; mv r${round}/f22 r${round}/sub/; setfattr -n user.r -v ${round} r${round}/f23
           fallocate -l 1M r${round}/pre; truncate -s 30M r${round}/sparse; sync`,
        );
        t.equal(work.status, 0, work.stderr);
        before = (await mounted.sh(listing)).stdout;
        t.notMatch(mounted.log(), /locking violation|"level":50/);
      } finally {
        t.equal(await mounted.unmount(), 0, 'clean unmount');
      }
    }
    const first = await mount(image);
    try {
      const second = await run(`${root}scripts/latchfs`, ['mount', image, '/media', '-f']);
      t.equal(second.status, 1, 'a second mount of an image is refused');
      t.match(second.stderr, /in use/);
    } finally {
      await first.unmount();
    }
    t.equal(statSync(image).size, 256 * 2 ** 20, 'the image has kept its size');
  } finally {
    await run('rm', ['-f', image]);
  }
});

t.test('a daemon that is killed leaves what umount clears', { skip: needsRoot, timeout: 60_000 }, async (t) => {
  const mounted = await mount('memory:64M');
  mounted.daemon.kill('SIGKILL');
  await new Promise((resolve) => mounted.daemon.once('exit', resolve));
  const cleared = await run(`${root}scripts/latchfs`, ['umount', mounted.dir]);
  t.equal(cleared.status, 0, cleared.stderr);
  const again = await run(`${root}scripts/latchfs`, ['mount', 'memory:64M', mounted.dir]);
  t.equal(again.status, 0, `the next mount works ${again.stderr}`);
  t.equal((await run(`${root}scripts/latchfs`, ['umount', mounted.dir])).status, 0);
});
