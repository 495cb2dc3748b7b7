/** Leases as Linux has them: each row was measured with fcntl(2) on tmpfs and on ext4, which agree. */

import t from 'tap';
import { LEASE_BREAK_TIME } from '../../../src/fs/locks/break-lease.js';
import type { FileLockType } from '../../../src/fs/locks/file-lock.js';
import { LockManager } from '../../../src/fs/locks/lock-manager.js';
import { Process, type Syscalls, syscalls } from '../../../src/fs/syscalls.js';
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
} from '../../../src/uapi/fcntl.js';
import { newWorld, outcome, StillClock, type World } from '../world.js';

const LETTERS: Readonly<Record<FileLockType, string>> = { F_RDLCK: 'R', F_WRLCK: 'W', F_UNLCK: 'U' };
const TYPES: Readonly<Record<string, FileLockType>> = { R: 'F_RDLCK', W: 'F_WRLCK', U: 'F_UNLCK' };

/** One who has leases, another who is in their way, and a file /f. */
class Stage {
  readonly world: World;
  readonly holder: Process;
  readonly sys: Syscalls;
  readonly other: Syscalls;
  readonly #others: Process;

  private constructor(world: World) {
    this.world = world;
    this.holder = new Process(world.sb, { umask: 0 });
    this.#others = new Process(world.sb, { umask: 0 });
    this.sys = syscalls(this.holder);
    this.other = syscalls(this.#others);
  }

  static async open(sched?: StillClock): Promise<Stage> {
    const stage = new Stage(await newWorld(sched === undefined ? {} : { sched }));
    await stage.sys.close(await stage.sys.open('/f', O_CREAT | O_RDWR, 0o644));
    return stage;
  }

  /** F_SETLEASE. */
  set(fd: number, letter: string): Promise<string> {
    return outcome(() => this.sys.fcntl_lease(fd, TYPES[letter] ?? 'F_UNLCK'));
  }

  /** F_GETLEASE. */
  async get(fd: number): Promise<string> {
    return LETTERS[await this.sys.fcntl_testlease(fd)];
  }

  /** The other opens the file and closes it. */
  tries(flags: number): Promise<string> {
    return outcome(async () => this.other.close(await this.other.open('/f', flags)));
  }

  /** Times that the holder was told. */
  get told(): number {
    return this.holder.signals.filter((name) => name === 'SIGIO').length;
  }

  async close(): Promise<string[]> {
    await this.holder.exit();
    await this.#others.exit();
    await this.world.end();
    return this.world.violations.map(({ message }) => message);
  }
}

function row(name: string, body: (stage: Stage) => Promise<unknown[]>, expected: readonly unknown[]): void {
  t.test(name, async (t) => {
    const stage = await Stage.open();
    t.strictSame(await body(stage), expected);
    t.strictSame(await stage.close(), [], 'no rule was broken');
  });
}

for (const [mode, flags, expected] of [
  ['read only', 0, ['ok', 'R', 'ok', 'W', 'ok', 'U']],
  ['write only', O_WRONLY, ['EAGAIN', 'U', 'ok', 'W', 'ok', 'U']],
  ['for both', O_RDWR, ['EAGAIN', 'U', 'ok', 'W', 'ok', 'U']],
] as const) {
  row(
    `of a file that is open ${mode}`,
    async (s) => {
      const fd = await s.sys.open('/f', flags);
      const got: unknown[] = [];
      for (const letter of ['R', 'W', 'U']) got.push(await s.set(fd, letter), await s.get(fd));
      return got;
    },
    expected,
  );
}

row(
  'directories and paths have none; what there is not cannot be given up',
  async (s) => {
    const [dir, path] = [await s.sys.open('/', O_DIRECTORY), await s.sys.open('/f', O_PATH)];
    const fd = await s.sys.open('/f', 0);
    return [
      await s.set(dir, 'R'),
      await s.get(dir),
      await s.set(path, 'R'),
      await s.set(fd, 'U'),
      await s.set(fd, 'R'),
      await s.set(fd, 'U'),
      await s.set(fd, 'U'),
    ];
  },
  ['EINVAL', 'U', 'EBADF', 'EAGAIN', 'ok', 'ok', 'EAGAIN'],
);

row(
  'who else has it open is in the way of a write lease, who writes of any',
  async (s) => {
    const [a, b] = [await s.sys.open('/f', 0), await s.sys.open('/f', 0)];
    const got = [await s.set(a, 'R'), await s.set(a, 'W'), await s.set(b, 'R'), await s.get(a), await s.get(b)];
    await s.sys.close(b);
    got.push(await s.set(a, 'W'), await s.get(a), await s.set(a, 'U'));
    const c = await s.sys.open('/f', O_RDWR);
    return [...got, await s.set(a, 'R'), await s.set(a, 'W'), await s.set(c, 'R'), await s.set(c, 'W')];
  },
  ['ok', 'EAGAIN', 'ok', 'R', 'R', 'ok', 'W', 'ok', 'EAGAIN', 'EAGAIN', 'EAGAIN', 'EAGAIN'],
);

row(
  'a lease belongs to the open file, whichever descriptor',
  async (s) => {
    const a = await s.sys.open('/f', 0);
    const b = await s.sys.dup(a);
    return [await s.set(a, 'R'), await s.get(b), await s.set(b, 'U'), await s.get(a), await s.set(a, 'W')];
  },
  ['ok', 'R', 'ok', 'U', 'ok'],
);

row(
  'one for reading that a writer has asked for stays asked for, until it is given up',
  async (s) => {
    const fd = await s.sys.open('/f', 0);
    await s.set(fd, 'R');
    const got: unknown[] = [await s.tries(O_NONBLOCK), await s.get(fd), s.told];
    got.push(await s.tries(O_RDWR | O_NONBLOCK), await s.get(fd), s.told);
    got.push(await s.tries(O_RDWR | O_NONBLOCK), s.told);
    got.push(await s.set(fd, 'R'), await s.get(fd), await s.tries(O_RDWR | O_NONBLOCK), s.told);
    got.push(await s.set(fd, 'W'), await s.get(fd));
    got.push(await s.set(fd, 'U'), await s.get(fd), await s.tries(O_RDWR | O_NONBLOCK), s.told);
    return got;
  },
  ['ok', 'R', 0, 'EAGAIN', 'U', 1, 'EAGAIN', 1, 'ok', 'U', 'EAGAIN', 1, 'ok', 'U', 'ok', 'U', 'ok', 1],
);

row(
  'one for writing is asked for by readers, and again by a writer',
  async (s) => {
    const fd = await s.sys.open('/f', 0);
    await s.set(fd, 'W');
    const got: unknown[] = [await s.tries(O_NONBLOCK), await s.get(fd), s.told, await s.tries(O_NONBLOCK), s.told];
    got.push(await s.tries(O_RDWR | O_NONBLOCK), await s.get(fd), s.told);
    got.push(await s.set(fd, 'R'), await s.get(fd), await s.tries(O_NONBLOCK), await s.get(fd), s.told);
    return [...got, await s.set(fd, 'U'), await s.get(fd)];
  },
  ['EAGAIN', 'R', 1, 'EAGAIN', 1, 'EAGAIN', 'U', 2, 'ok', 'U', 'ok', 'U', 2, 'ok', 'U'],
);

row(
  'readers are content with one for reading',
  async (s) => {
    const fd = await s.sys.open('/f', 0);
    await s.set(fd, 'W');
    const got: unknown[] = [await s.tries(O_NONBLOCK), await s.get(fd), await s.set(fd, 'R'), await s.get(fd)];
    return [...got, await s.tries(O_NONBLOCK), await s.get(fd), s.told];
  },
  ['EAGAIN', 'R', 'ok', 'R', 'ok', 'R', 1],
);

row(
  'all of several are asked for, and nobody gets one meanwhile',
  async (s) => {
    const [a, b] = [await s.sys.open('/f', 0), await s.sys.open('/f', 0)];
    const got: unknown[] = [await s.set(a, 'R'), await s.set(b, 'R'), await s.tries(O_RDWR | O_NONBLOCK)];
    got.push(await s.get(a), await s.get(b), await s.set(b, 'R'), await s.get(b));
    const c = await s.sys.open('/f', O_NONBLOCK);
    got.push(await s.set(c, 'R'), await s.get(c), await s.set(a, 'U'), await s.tries(O_RDWR | O_NONBLOCK));
    return [...got, await s.set(b, 'U'), await s.tries(O_RDWR | O_NONBLOCK)];
  },
  // Where somebody else is to give one up, none is to be had, nor kept.
  ['ok', 'ok', 'EAGAIN', 'U', 'U', 'EAGAIN', 'U', 'EAGAIN', 'U', 'ok', 'EAGAIN', 'ok', 'ok'],
);

row(
  'who is told: the process that takes it, unless somebody is told already; nobody once it is given up',
  async (s) => {
    const fd = await s.sys.open('/f', 0);
    const owner = async (): Promise<string> => {
      const now = await s.sys.fcntl_getown(fd);
      return now === undefined ? 'none' : now === s.holder ? 'me' : 'other';
    };
    const got = [await owner()];
    for (const letter of ['R', 'U']) got.push(await s.set(fd, letter), await owner());
    await s.sys.fcntl_setown(fd, { signal: () => undefined });
    got.push(await owner());
    for (const letter of ['R', 'W', 'U']) got.push(await s.set(fd, letter), await owner());
    const writer = await s.sys.open('/f', O_RDWR);
    return [...got, await s.set(writer, 'R'), (await s.sys.fcntl_getown(writer)) === undefined];
  },
  ['none', 'ok', 'me', 'ok', 'none', 'other', 'ok', 'other', 'ok', 'other', 'ok', 'none', 'EAGAIN', true],
);

/** What the other does while the holder has a lease; told, and the type then; the holder does `then`, and the other has come through. */
const MEANWHILE: readonly [
  what: string,
  lease: string,
  then: string,
  told: number,
  type: string,
  end: string,
  (s: Stage) => Promise<unknown>,
][] = [
  ['open to write', 'R', 'U', 1, 'U', 'ok', (s) => s.other.open('/f', O_RDWR)],
  ['open to write and cut', 'R', 'U', 1, 'U', 'ok', (s) => s.other.open('/f', O_WRONLY | O_TRUNC)],
  ['open to read', 'W', 'R', 1, 'R', 'ok', (s) => s.other.open('/f', 0)],
  ['open to write', 'W', 'U', 1, 'U', 'ok', (s) => s.other.open('/f', O_RDWR)],
  ['open for ioctl only', 'R', 'U', 1, 'U', 'ok', (s) => s.other.open('/f', 3)],
  ['open or make', 'W', 'U', 1, 'R', 'ok', (s) => s.other.open('/f', O_CREAT)],
  ['truncate', 'R', 'U', 1, 'U', 'ok', (s) => s.other.truncate('/f', 3)],
  ['truncate', 'W', 'U', 1, 'U', 'ok', (s) => s.other.truncate('/f', 3)],
  ['open to read and cut', 'R', 'U', 0, 'R', 'ok', (s) => s.other.open('/f', O_TRUNC)],
  ['make what is there', 'W', 'U', 0, 'W', 'EEXIST', (s) => s.other.open('/f', O_CREAT | O_EXCL | O_RDWR)],
  ['open the path', 'W', 'U', 0, 'W', 'ok', (s) => s.other.open('/f', O_PATH)],
  ['unlink', 'W', 'U', 0, 'W', 'ok', (s) => s.other.unlink('/f')],
  ['rename', 'R', 'U', 0, 'R', 'ok', (s) => s.other.rename('/f', '/g')],
  ['link', 'R', 'U', 0, 'R', 'ok', (s) => s.other.link('/f', '/g')],
  ['chmod', 'W', 'U', 0, 'W', 'ok', (s) => s.other.chmod('/f', 0o600)],
  ['chown', 'W', 'U', 0, 'W', 'ok', (s) => s.other.chown('/f', 1, 1)],
  ['set an attribute', 'W', 'U', 0, 'W', 'ok', (s) => s.other.setxattr('/f', 'trusted.a', Buffer.from('1'))],
  ['look', 'W', 'U', 0, 'W', 'ok', (s) => s.other.stat('/f')],
];
for (const [what, lease, then, told, type, end, does] of MEANWHILE) {
  row(
    `${what}, where somebody has a lease ${lease}`,
    async (s) => {
      const fd = await s.sys.open('/f', 0);
      await s.set(fd, lease);
      const doing = outcome(() => does(s));
      for (let i = 0; i < 50; i++) await s.world.sb.sched.yield();
      return [s.told, await s.get(fd), await s.set(fd, then), await doing];
    },
    [told, type, 'ok', end],
  );
}

row(
  'closing gives it up',
  async (s) => {
    const fd = await s.sys.open('/f', 0);
    await s.set(fd, 'R');
    const opening = s.tries(O_RDWR);
    await s.sys.close(fd);
    return [await opening];
  },
  ['ok'],
);

t.test('a delegation is recalled before the file loses a name or changes, and opens of a lease are not', async (t) => {
  const changes: readonly [string, (s: Stage) => Promise<unknown>][] = [
    ['unlink', (s) => s.other.unlink('/f')],
    ['rename', (s) => s.other.rename('/f', '/g')],
    ['rename over', async (s) => s.other.rename('/h', '/f')],
    ['link', (s) => s.other.link('/f', '/g')],
    ['chmod', (s) => s.other.chmod('/f', 0o600)],
    ['setxattr', (s) => s.other.setxattr('/f', 'trusted.a', Buffer.from('1'))],
    ['open to write', (s) => s.other.open('/f', O_RDWR)],
  ];
  for (const [what, does] of changes) {
    const stage = await Stage.open();
    const { sb } = stage.world;
    await stage.sys.close(await stage.sys.open('/h', O_CREAT | O_RDWR, 0o644));
    const { ino } = await stage.sys.stat('/f');
    const server = new LockManager(sb, { lease: 10_000 });
    const recalled: number[] = [];
    const client = server.connect({ recall: (file) => void recalled.push(file) });
    const state = await stage.world.run((task) => client.open(task, ino, 0));
    await stage.world.run((task) => client.delegate(task, state, 'F_RDLCK'));
    let done = false;
    const doing = outcome(() => does(stage)).finally(() => {
      done = true;
    });
    for (let i = 0; i < 50; i++) await sb.sched.yield();
    t.strictSame([recalled, done], [[ino], false], `${what}: the client is told, and waited for`);
    await stage.world.run((task) => client.delegate(task, state, 'F_UNLCK'));
    t.equal(await doing, 'ok', what);
    await stage.world.run((task) => server.stop(task));
    t.strictSame(await stage.close(), [], 'no rule was broken');
  }
});

t.test(
  'who does not answer loses it after its time: all of it to a writer, of one for writing the half to a reader',
  async (t) => {
    for (const [lease, flags, left, then] of [
      ['R', O_RDWR, 'U', 'EAGAIN'],
      ['W', 0, 'R', 'ok'],
    ] as const) {
      const clock = new StillClock();
      const stage = await Stage.open(clock);
      const fd = await stage.sys.open('/f', 0);
      await stage.set(fd, lease);
      let done = false;
      const opening = stage.tries(flags).finally(() => {
        done = true;
      });
      await clock.advance(LEASE_BREAK_TIME * 1000 - 1);
      t.equal(done, false, 'not before');
      await clock.advance(1);
      t.equal(await opening, 'ok');
      t.strictSame([await stage.get(fd), await stage.set(fd, 'U')], [left, then]);
      t.strictSame(await stage.close(), [], 'no rule was broken');
    }
  },
);
