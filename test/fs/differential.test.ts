/** The same system calls here and on a tmpfs of the kernel's: the same results, to the errno, and the same tree afterwards. */

import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { Process, type Syscalls, syscalls } from '../../src/fs/syscalls.js';
import { ROOT_CRED } from '../../src/sched/task.js';
import { AT_FDCWD } from '../../src/uapi/fcntl.js';
import { newWorld, user } from './world.js';

const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : 'needs root, to mount a tmpfs and to act as others';

const NAMES = ['a', 'b', 'c', 'l'];
const path = fc
  .array(fc.constantFrom(...NAMES, '.', '..'), { minLength: 1, maxLength: 3 })
  .chain((parts) => fc.constantFrom('', '/').map((slash) => `/${parts.join('/')}${slash}`));
const mode = fc.constantFrom(0o777, 0o755, 0o700, 0o644, 0o600, 0o1777, 0o2755, 0o4755, 0o6771, 0o500, 0o300, 0);
const id = fc.constantFrom(0, 1001, 1002);
const flags = fc
  .subarray([
    fs.constants.O_CREAT,
    fs.constants.O_EXCL,
    fs.constants.O_TRUNC,
    fs.constants.O_APPEND,
    fs.constants.O_NOFOLLOW,
  ])
  .chain((set) =>
    fc
      .constantFrom(fs.constants.O_RDONLY, fs.constants.O_WRONLY, fs.constants.O_RDWR)
      .map((access) => set.reduce((all, flag) => all | flag, access)),
  );

/** One system call, in words that both sides understand. */
type Step =
  | { readonly op: 'become'; readonly uid: number }
  | { readonly op: 'mkdir'; readonly path: string; readonly mode: number }
  | {
      readonly op: 'open';
      readonly path: string;
      readonly flags: number;
      readonly mode: number;
      readonly bytes: number;
    }
  | { readonly op: 'mknod'; readonly path: string; readonly mode: number }
  | { readonly op: 'rmdir' | 'unlink' | 'stat' | 'lstat' | 'readlink' | 'readdir'; readonly path: string }
  | { readonly op: 'rename' | 'link'; readonly path: string; readonly to: string }
  | { readonly op: 'symlink'; readonly path: string; readonly to: string }
  | { readonly op: 'chmod'; readonly path: string; readonly mode: number }
  | { readonly op: 'chown' | 'lchown'; readonly path: string; readonly uid: number; readonly gid: number }
  | { readonly op: 'truncate'; readonly path: string; readonly size: number }
  | { readonly op: 'access'; readonly path: string; readonly mode: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: fc.record({ op: fc.constant('become' as const), uid: id }), weight: 2 },
  { arbitrary: fc.record({ op: fc.constant('mkdir' as const), path, mode }), weight: 4 },
  {
    arbitrary: fc.record({ op: fc.constant('open' as const), path, flags, mode, bytes: fc.nat({ max: 9000 }) }),
    weight: 5,
  },
  { arbitrary: fc.record({ op: fc.constant('rename' as const), path, to: path }), weight: 4 },
  { arbitrary: fc.record({ op: fc.constant('link' as const), path, to: path }), weight: 2 },
  {
    arbitrary: fc.record({
      op: fc.constant('symlink' as const),
      path,
      to: fc.oneof(path, fc.constantFrom('a', '../b', 'l')),
    }),
    weight: 2,
  },
  { arbitrary: fc.record({ op: fc.constant('chmod' as const), path, mode }), weight: 2 },
  {
    arbitrary: fc.record({ op: fc.constantFrom('chown' as const, 'lchown' as const), path, uid: id, gid: id }),
    weight: 2,
  },
  { arbitrary: fc.record({ op: fc.constant('truncate' as const), path, size: fc.nat({ max: 9000 }) }), weight: 1 },
  { arbitrary: fc.record({ op: fc.constant('access' as const), path, mode: fc.nat({ max: 7 }) }), weight: 1 },
  {
    arbitrary: fc.record({
      op: fc.constantFrom(
        'rmdir' as const,
        'unlink' as const,
        'stat' as const,
        'lstat' as const,
        'readlink' as const,
        'readdir' as const,
      ),
      path,
    }),
    weight: 6,
  },
);

/** What of a file's attributes must agree. */
function shown(st: { mode: number; nlink: number; uid: number; gid: number; size: number }): string {
  const directory = (st.mode & 0o170000) === 0o040000;
  return `${st.mode.toString(8)} ${directory ? '-' : st.nlink} ${st.uid}:${st.gid} ${directory ? '-' : st.size}`;
}

const UMASK = 0o027;
/** How many sequences of calls are tried. */
const { LATCHFS_RUNS: runs = '60' } = process.env;

/** One step on the kernel's filesystem below `base`. @returns what came of it, or the errno */
function onKernel(base: string, each: Step): string {
  const at = (name: string): string => base + name;
  try {
    switch (each.op) {
      case 'become':
        process.seteuid?.(0);
        process.setegid?.(each.uid);
        process.seteuid?.(each.uid);
        return 'ok';
      case 'mkdir':
        fs.mkdirSync(at(each.path), each.mode);
        return 'ok';
      case 'open': {
        const fd = fs.openSync(at(each.path), each.flags, each.mode);
        try {
          return (each.flags & 3) === 0 ? 'ok' : `wrote ${fs.writeSync(fd, Buffer.alloc(each.bytes, 1))}`;
        } finally {
          fs.closeSync(fd);
        }
      }
      case 'rmdir':
        fs.rmdirSync(at(each.path));
        return 'ok';
      case 'unlink':
        fs.unlinkSync(at(each.path));
        return 'ok';
      case 'stat':
        return shown(fs.statSync(at(each.path)));
      case 'lstat':
        return shown(fs.lstatSync(at(each.path)));
      case 'readlink':
        return fs.readlinkSync(at(each.path)).replace(base, '');
      case 'readdir':
        return fs.readdirSync(at(each.path)).sort().join(' ');
      case 'rename':
        fs.renameSync(at(each.path), at(each.to));
        return 'ok';
      case 'link':
        fs.linkSync(at(each.path), at(each.to));
        return 'ok';
      case 'symlink':
        fs.symlinkSync(each.to.startsWith('/') ? at(each.to) : each.to, at(each.path));
        return 'ok';
      case 'chmod':
        fs.chmodSync(at(each.path), each.mode);
        return 'ok';
      case 'chown':
        fs.chownSync(at(each.path), each.uid, each.gid);
        return 'ok';
      case 'lchown':
        fs.lchownSync(at(each.path), each.uid, each.gid);
        return 'ok';
      case 'truncate':
        fs.truncateSync(at(each.path), each.size);
        return 'ok';
      case 'access':
        fs.accessSync(at(each.path), each.mode);
        return 'ok';
      case 'mknod':
        return 'ok';
    }
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

/** The same step on ours. The tree is below /base, as on the other side, so that '..' leads as far up. */
async function onOurs(p: Process, sys: Syscalls, base: string, each: Step): Promise<string> {
  const at = (name: string): string => base + name;
  try {
    switch (each.op) {
      case 'become':
        p.cred = each.uid === 0 ? ROOT_CRED : user(each.uid);
        return 'ok';
      case 'mkdir':
        await sys.mkdir(at(each.path), each.mode);
        return 'ok';
      case 'open': {
        const fd = await sys.open(at(each.path), each.flags, each.mode);
        try {
          return (each.flags & 3) === 0 ? 'ok' : `wrote ${await sys.write(fd, Buffer.alloc(each.bytes, 1))}`;
        } finally {
          await sys.close(fd);
        }
      }
      case 'rmdir':
        await sys.rmdir(at(each.path));
        return 'ok';
      case 'unlink':
        await sys.unlink(at(each.path));
        return 'ok';
      case 'stat':
        return shown(await sys.stat(at(each.path)));
      case 'lstat':
        return shown(await sys.lstat(at(each.path)));
      case 'readlink':
        return (await sys.readlink(at(each.path))).replace(base, '');
      case 'readdir':
        return await listing(sys, at(each.path));
      case 'rename':
        await sys.rename(at(each.path), at(each.to));
        return 'ok';
      case 'link':
        await sys.linkat(AT_FDCWD, at(each.path), AT_FDCWD, at(each.to), 0);
        return 'ok';
      case 'symlink':
        await sys.symlink(each.to.startsWith('/') ? at(each.to) : each.to, at(each.path));
        return 'ok';
      case 'chmod':
        await sys.chmod(at(each.path), each.mode);
        return 'ok';
      case 'chown':
        await sys.chown(at(each.path), each.uid, each.gid);
        return 'ok';
      case 'lchown':
        await sys.lchown(at(each.path), each.uid, each.gid);
        return 'ok';
      case 'truncate':
        return await truncated(sys, at(each.path), each.size);
      case 'access':
        return await accessed(p, sys, at(each.path), each.mode);
      case 'mknod':
        return 'ok';
    }
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}

async function listing(sys: Syscalls, name: string): Promise<string> {
  const fd = await sys.open(name, fs.constants.O_DIRECTORY);
  try {
    const names = (await sys.getdents(fd)).map((entry) => entry.name);
    return names
      .filter((entry) => entry !== '.' && entry !== '..')
      .sort()
      .join(' ');
  } finally {
    await sys.close(fd);
  }
}

/** Node truncates by opening for reading and writing. */
async function truncated(sys: Syscalls, name: string, size: number): Promise<string> {
  const fd = await sys.open(name, fs.constants.O_RDWR);
  try {
    await sys.ftruncate(fd, size);
    return 'ok';
  } finally {
    await sys.close(fd);
  }
}

/** access(2) asks for the real user, who is root throughout on the other side. */
async function accessed(p: Process, sys: Syscalls, name: string, mode: number): Promise<string> {
  const { cred } = p;
  p.cred = ROOT_CRED;
  try {
    await sys.access(name, mode);
    return 'ok';
  } finally {
    p.cred = cred;
  }
}

/** Everything below a directory, as root sees it. */
function kernelTree(base: string): string {
  return execFileSync('find', [base, '-mindepth', '1', '-printf', '%P %y %m %U:%G %n %s %l\n'], { encoding: 'utf8' })
    .split('\n')
    .map((line) =>
      line
        .replaceAll(base, '')
        .replace(/^(\S+ d \S+ \S+) .*$/, '$1')
        .trimEnd(),
    )
    .sort()
    .join('\n');
}

async function ourTree(sys: Syscalls, base: string, below = ''): Promise<string[]> {
  const lines: string[] = [];
  const names = (await listing(sys, base + below)).split(' ').filter((name) => name !== '');
  for (const name of names) {
    const st = await sys.lstat(`${base}${below}/${name}`);
    const type = (st.mode & 0o170000) === 0o040000 ? 'd' : (st.mode & 0o170000) === 0o120000 ? 'l' : 'f';
    const where = `${below}/${name}`.slice(1);
    const head = `${where} ${type} ${(st.mode & 0o7777).toString(8)} ${st.uid}:${st.gid}`;
    const target = type === 'l' ? (await sys.readlink(`${base}${below}/${name}`)).replaceAll(base, '') : '';
    lines.push(type === 'd' ? head : `${head} ${st.nlink} ${st.size} ${target}`.trimEnd());
    if (type === 'd') lines.push(...(await ourTree(sys, base, `${below}/${name}`)));
  }
  return lines;
}

t.test('system calls here and on tmpfs', { skip }, async (t) => {
  const mountpoint = fs.mkdtempSync('/tmp/latchfs-differential-');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=755', 'none', mountpoint]);
  const groups = process.getgroups?.() ?? [];
  const umask = process.umask(UMASK);
  process.setgroups?.([]);
  try {
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        const base = `${mountpoint}/${++round}`;
        fs.mkdirSync(base);
        fs.chmodSync(base, 0o1777);
        const world = await newWorld();
        const p = new Process(world.sb, { umask: UMASK });
        const sys = syscalls(p);
        for (const [at, part] of base.split('/').entries()) {
          if (at > 0) await sys.mkdir(`${base.split('/').slice(0, at).join('/')}/${part}`, 0o755);
        }
        await sys.chmod(base, 0o1777);
        // The same permissions on the way there.
        for (let up = base; up.lastIndexOf('/') > 0; ) {
          up = up.slice(0, up.lastIndexOf('/'));
          const st = fs.statSync(up);
          await sys.chmod(up, st.mode & 0o7777);
        }
        try {
          const trace: string[] = [];
          for (const each of steps) {
            if (leaves(each)) continue;
            const theirs = onKernel(base, each);
            const ours = await onOurs(p, sys, base, each);
            trace.push(`${JSON.stringify(each)} → ${theirs}`);
            if (theirs !== ours) throw new Error(`${trace.join('\n')}, but here ${ours}`);
          }
          onKernel(base, { op: 'become', uid: 0 });
          p.cred = ROOT_CRED;
          const [theirs, ours] = [kernelTree(base).trim(), (await ourTree(sys, base)).sort().join('\n')];
          if (theirs !== ours) throw new Error(`${trace.join('\n')}\n--- tmpfs\n${theirs}\n--- here\n${ours}`);
          await p.exit();
          const busy = await world.end();
          if (busy !== 0) throw new Error(`${trace.join('\n')}\n${busy} inodes are in use at the end`);
          const [first] = world.violations;
          if (first !== undefined) throw new Error(`${trace.join('\n')}\n${first.message}`);
        } finally {
          onKernel(base, { op: 'become', uid: 0 });
          fs.rmSync(base, { recursive: true, force: true });
        }
      }),
      { numRuns: Number(runs), endOnFailure: false },
    );
    t.pass('all results agree');
  } finally {
    onKernel('', { op: 'become', uid: 0 });
    process.setgroups?.(groups);
    process.umask(umask);
    execFileSync('umount', ['-l', mountpoint]);
    fs.rmdirSync(mountpoint);
  }
});

/** Whether a step would go above the tree of the test. */
function leaves(each: Step): boolean {
  const paths = [...('path' in each ? [each.path] : []), ...('to' in each ? [each.to] : [])];
  return paths.some((name) => {
    let depth = 0;
    for (const part of name.split('/')) {
      if (part === '..') depth--;
      else if (part !== '' && part !== '.') depth++;
      if (depth < 0) return true;
    }
    return false;
  });
}
