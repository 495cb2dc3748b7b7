/** Which requests the kernel sends for which action: the counts are the measure of what it is allowed to cache. */
import t, { type Test } from 'tap';
import { type Mounted, withMount } from './harness.js';

const skip = process.geteuid?.() === 0 ? false : 'needs root';
const FILES = 12;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

type Counts = Readonly<Record<string, number>>;

/** The counts that the daemon logs when it is asked. */
async function counts(mounted: Mounted): Promise<Counts> {
  const reports = (): { requests: Counts }[] =>
    mounted
      .log()
      .split('\n')
      .filter((line) => line.includes('requests so far'))
      .map((line) => JSON.parse(line));
  const before = reports().length;
  mounted.daemon.kill('SIGUSR2');
  for (;;) {
    const now = reports();
    const last = now[now.length - 1];
    if (now.length > before && last !== undefined) return last.requests;
    await pause(5);
  }
}

const PRELUDE = `
import os, sys
n = ${FILES}
def make(name, data=b''):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644)
    if data: os.write(fd, data)
    os.close(fd)
def read(name):
    fd = os.open(name, os.O_RDONLY)
    os.read(fd, 4096)
    os.close(fd)
`;

/** Nobody waits for these: they may come while the next action runs. */
const LATE = /FORGET|RELEASE/;

/** Run Python in the mount. @returns what each request's count rose by, without those that come late */
async function sent(t: Test, mounted: Mounted, script: string): Promise<Counts> {
  const before = await counts(mounted);
  const ran = await mounted.sh(`python3 - <<'END'\n${PRELUDE}\n${script}\nEND`);
  t.equal(ran.status, 0, ran.stderr);
  const after = await counts(mounted);
  const rise: Record<string, number> = {};
  for (const [name, count] of Object.entries(after)) {
    const more = count - (before[name] ?? 0);
    if (more > 0 && !LATE.test(name)) rise[name] = more;
  }
  return rise;
}

t.test('cache=auto', { skip }, async (t) => {
  await withMount('memory:256M', 'allow_other,cache=auto', async (mounted) => {
    const each = async (script: string, expected: Counts): Promise<void> => {
      const rise = await sent(t, mounted, `os.chdir('d')\nfor i in range(n): ${script}`);
      const perFile: Record<string, number> = {};
      for (const [name, count] of Object.entries(rise)) {
        if (count >= FILES / 2) perFile[name] = Math.round(count / FILES);
      }
      t.same(perFile, expected, script);
    };
    t.equal((await mounted.sh('mkdir d; ls d')).status, 0);
    await each("make(f'a{i}')", { LOOKUP: 1, GETATTR: 1, CREATE: 1 });
    await each("make(f'b{i}', b'x' * 100)", { LOOKUP: 1, GETATTR: 1, CREATE: 1, GETXATTR: 1, WRITE: 1 });
    await each("read(f'b{i}')", { OPEN: 1, READ: 1, GETATTR: 1 });
    await each("read(f'b{i}')", { OPEN: 1 });
    await each("os.stat(f'b{i}'); os.access(f'b{i}', os.R_OK)", { GETATTR: 1 });
    await each("os.stat(f'b{i}'); os.access(f'b{i}', os.R_OK)", {});
    await each("os.rename(f'b{i}', f'c{i}')", { LOOKUP: 1, GETATTR: 1, RENAME: 1 });
    await each("os.unlink(f'c{i}')", { GETATTR: 1, UNLINK: 1 });
    await each("os.mkdir(f'd{i}')", { LOOKUP: 1, GETATTR: 1, MKDIR: 1 });
    await each("os.symlink('target', f's{i}'); os.readlink(f's{i}'); os.readlink(f's{i}')", {
      LOOKUP: 1,
      GETATTR: 1,
      SYMLINK: 1,
      READLINK: 1,
    });
    const list = "os.chdir('d')\nfor e in os.scandir('.'): e.stat(follow_symlinks=False)";
    const first = await sent(t, mounted, list);
    t.ok((first['READDIRPLUS'] ?? 0) >= 1 && (first['READDIRPLUS'] ?? 0) <= 3, 'a listing brings attributes along');
    t.equal(first['LOOKUP'] ?? 0, 0);
    await sent(t, mounted, list);
    t.same(await sent(t, mounted, list), {}, 'and is remembered');
    const big = await sent(
      t,
      mounted,
      "fd = os.open('big', os.O_CREAT | os.O_WRONLY)\nos.write(fd, b'x' * (16 << 20))",
    );
    t.ok((big['WRITE'] ?? 99) <= 17, `writes come in pieces of 1 MiB: ${big['WRITE']}`);
    const copy = await sent(
      t,
      mounted,
      "a = os.open('big', os.O_RDONLY)\nb = os.open('copy', os.O_CREAT | os.O_WRONLY)\n" +
        'while os.copy_file_range(a, b, 1 << 30): pass',
    );
    t.equal((copy['READ'] ?? 0) + (copy['WRITE'] ?? 0), 0, 'a copy moves no data');
    t.ok((copy['COPY_FILE_RANGE_64'] ?? copy['COPY_FILE_RANGE'] ?? 0) <= 2);
    const polls = await sent(
      t,
      mounted,
      "import select\nfd = os.open('big', os.O_RDWR)\np = select.poll()\np.register(fd)\n" +
        'for i in range(n): assert p.poll() == [(fd, select.POLLIN | select.POLLOUT)]',
    );
    t.ok((polls['POLL'] ?? 0) <= 1, `that files are always ready is asked for once: ${polls['POLL']}`);
  });
});

t.test('cache=always', { skip }, async (t) => {
  await withMount('memory:256M', 'allow_other,cache=always,nocontrol', async (mounted) => {
    await sent(t, mounted, "for i in range(n): make(f'b{i}', b'x' * 100)\nread('b0')");
    const first = await sent(t, mounted, "for i in range(n): read(f'b{i}')");
    for (const name of ['OPEN', 'FLUSH']) t.equal(first[name], undefined, `no ${name}`);
    t.same(
      await sent(t, mounted, "for i in range(n): read(f'b{i}')"),
      {},
      'what was read is read again without a request',
    );
    const small = await sent(
      t,
      mounted,
      "fd = os.open('w', os.O_CREAT | os.O_WRONLY)\nfor i in range(1024): os.write(fd, bytes(4096))\nos.fsync(fd)",
    );
    t.ok((small['WRITE'] ?? 99) <= 8, `small writes are gathered: ${small['WRITE']}`);
    const rewritten = await mounted.sh('printf 0123456789 > t; printf abc > t; cat t; wc -c < t');
    t.equal(rewritten.stdout, 'abc3\n', 'O_TRUNC is not lost where nothing is opened');
    t.equal((await mounted.sh('echo more >> t; cat t')).stdout, 'abcmore\n', 'O_APPEND appends');
    t.equal((await mounted.sh('exec 3<>u; echo kept >&3; rm u; cat /proc/self/fd/3')).stdout, 'kept\n');
    t.notMatch(mounted.log(), /violation|request failed/);
  });
});

t.test('cache=none sees each request', { skip }, async (t) => {
  await withMount('memory:256M', 'allow_other,cache=none', async (mounted) => {
    await sent(t, mounted, "make('f', b'x' * 100)");
    const rise = await sent(t, mounted, "for i in range(n): read('f')");
    for (const name of ['LOOKUP', 'OPEN', 'READ', 'FLUSH']) {
      t.ok((rise[name] ?? 0) >= FILES, `${name}: ${rise[name]}`);
    }
    const locks = await sent(
      t,
      mounted,
      "import fcntl\nfd = os.open('f', os.O_RDWR)\nfcntl.lockf(fd, fcntl.LOCK_EX)\nfcntl.flock(fd, fcntl.LOCK_EX)",
    );
    t.equal((locks['SETLK'] ?? 0) + (locks['SETLKW'] ?? 0), 2);
    const listed = await sent(t, mounted, "for i in range(n): os.listdir('.')");
    t.equal(listed['OPENDIR'], FILES);
    t.ok((listed['READDIRPLUS'] ?? 0) + (listed['READDIR'] ?? 0) >= FILES);
  });
});

t.test('with strictatime each reader is seen, and moves the access time', { skip }, async (t) => {
  for (const cache of ['none', 'auto', 'always']) {
    await withMount('memory:32M', `allow_other,strictatime,cache=${cache}`, async (mounted) => {
      const { stdout, stderr } = await mounted.sh(
        `mkdir d; echo aaa > d/f; cat d/f > /dev/null; ls d > /dev/null
         for i in 1 2 3; do sleep 0.05; cat d/f > /dev/null; ls d > /dev/null; stat -c 'file %x' d/f; stat -c 'directory %x' d; done`,
      );
      t.equal(stderr, '');
      t.equal(new Set(stdout.trim().split('\n')).size, 6, `cache=${cache}:\n${stdout}`);
    });
  }
});
