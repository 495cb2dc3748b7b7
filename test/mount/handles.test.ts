/** File handles (name_to_handle_at, open_by_handle_at), as a server of NFS uses them: they outlive an unmount, and never find another file. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { apart, latchfs, type Mounted, run, sh, withMount } from './harness.js';

const needsRoot = process.getuid?.() !== 0 ? 'opens by handle as root' : false;
const scratch = mkdtempSync(join(tmpdir(), 'latchfs-handles-'));
t.teardown(() => run('rm', ['-rf', scratch]));

/** handles.py save|open FILE NAME...: keep the handles of names in FILE; open what is kept, and say where each is and what it holds. */
const program = `
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
command, file, names = sys.argv[1], sys.argv[2], sys.argv[3:]
size = 128
if command == 'save':
    with open(file, 'wb') as out:
        for name in names:
            handle = ctypes.create_string_buffer(8 + size); handle[0:4] = size.to_bytes(4, 'little'); mount = ctypes.c_int()
            if libc.name_to_handle_at(-100, name.encode(), handle, ctypes.byref(mount), 0) != 0: sys.exit(os.strerror(ctypes.get_errno()))
            out.write(handle.raw)
else:
    root = os.getcwd(); mount = os.open('.', os.O_RDONLY); kept = open(file, 'rb').read()
    for i in range(0, len(kept), 8 + size):
        fd = libc.open_by_handle_at(mount, ctypes.create_string_buffer(kept[i:i + 8 + size]), os.O_RDONLY)
        if fd < 0: print(os.strerror(ctypes.get_errno())); continue
        path = os.path.relpath(os.readlink(f'/proc/self/fd/{fd}'), root)
        print(path, ','.join(sorted(os.listdir(fd))) if os.path.isdir(f'/proc/self/fd/{fd}') else os.read(fd, 100).decode())
`;

t.test('handles', { skip: needsRoot }, async (t) => {
  const image = join(scratch, 'image');
  await run(latchfs, ['mkfs', image, '--size', '64M']);
  await sh(`cat > handles.py <<'PY'\n${program}PY`, scratch);
  const handles = (command: string, file: string, ...names: string[]): string =>
    `python3 ${scratch}/handles.py ${command} ${scratch}/${file} ${names.join(' ')}`;
  await withMount(image, 'allow_other', async (mounted) => {
    const made = await mounted.sh(`mkdir -p a/b/c; printf deep >a/b/c/f; printf gone >a/g; printf top >t
      ${handles('save', 'kept', '.', 'a', 'a/b/c', 'a/b/c/f', 't')}
      ${handles('save', 'stale', 'a/g')}
      rm a/g; printf other >a/h; mv a/b/c a/moved`);
    t.equal(made.status, 0, made.stderr);
  });
  await withMount(image, 'allow_other', async (mounted) => {
    const found = await mounted.sh(handles('open', 'kept'));
    const [root, a, c, f, top] = found.stdout.split('\n');
    t.equal(root, '. a,t', 'the root');
    t.equal(a, 'a b,h,moved', 'a directory in it');
    t.equal(c, 'a/moved f', 'a directory that moved is found where it is now');
    t.match(f, / deep$/, 'a file');
    t.match(top, / top$/);
    t.equal(
      (await mounted.sh(handles('open', 'stale'))).stdout,
      'Stale file handle\n',
      'what is gone is not another file',
    );
    t.equal((await mounted.sh('ls; cat a/moved/f')).stdout, 'a\nt\ndeep', 'and the tree is as it was');
    t.notMatch(mounted.log(), /"level":[45]0/, 'without a complaint');
  });
});

t.test('overlays work where there are no handles', { skip: needsRoot }, async (t) => {
  const image = join(scratch, 'layers');
  await run(latchfs, ['mkfs', image, '--size', '64M']);
  const overlay = 'mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged';
  const inside = async (m: Mounted, script: string): Promise<string> => {
    const [command, ...args] = apart(m.dir, `cd "$1"; ${script}; umount merged`, m.dir);
    const ran = await run(command, args);
    t.equal(ran.status, 0, ran.stderr);
    return ran.stdout;
  };
  await withMount(image, 'allow_other,noexport', async (m) => {
    const made = 'mkdir -p lower/d upper work merged; echo old > lower/f; echo old > lower/d/g';
    await inside(m, `${made}; ${overlay}; echo new >> merged/f; echo new >> merged/d/g; mv merged/d/g merged/g`);
    const handle = `python3 ${scratch}/handles.py save ${scratch}/none lower/f && python3 ${scratch}/handles.py open ${scratch}/none`;
    t.notMatch((await m.sh(handle)).stdout, /old/, 'nothing is found by a handle');
  });
  // Now the kernel has forgotten by which names it knew the files below.
  await withMount(image, 'allow_other,noexport', async (m) => {
    const look = 'cat merged/f merged/g';
    const out = await inside(m, `${overlay}; ${look}; ${look}; mv merged/f merged/e; cat merged/e; ls merged merged/d`);
    const seen = 'old\nnew\nold\nnew\n';
    t.equal(out, `${seen}${seen}old\nnew\nmerged:\nd\ne\ng\n\nmerged/d:\n`, 'also at the second look');
    t.notMatch(m.log(), /"level":[45]0/, 'without a complaint');
  });
});
