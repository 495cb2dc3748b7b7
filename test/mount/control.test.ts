/** The control directory of a mount: a name that is not listed, files that tell and that obey. */
import t from 'tap';
import { withMount } from './harness.js';

t.test('the directory is there by name and nowhere else', async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    t.equal((await m.sh('ls -A')).stdout, '', 'a listing does not show it');
    t.equal((await m.sh('ls .latchfs')).stdout, 'contract\ncontrol\nmounts\n');
    t.match((await m.sh('cat .latchfs/contract')).stdout, /inode_operations[\s\S]*rename/);
    const mounts = (await m.sh('cat .latchfs/mounts')).stdout;
    t.equal(mounts.split('\n').length, 3, mounts);
    t.match(mounts, new RegExp(`^\\S+ ${m.dir} latch `));
    t.match(mounts, new RegExp(`\\n\\S+ ${m.dir}/\\.latchfs latchctl `));
    t.match((await m.sh('setpriv --reuid 65534 --clear-groups ls .latchfs')).stderr, /Permission denied/);
    t.equal((await m.sh('find . -mindepth 1')).stdout, '');
  });
});

t.test('it cannot be removed, replaced or reached into', async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    await m.sh('mkdir d; echo data > f');
    for (const [command, message] of [
      ['rmdir .latchfs', /Device or resource busy/],
      ['mv .latchfs other', /Device or resource busy/],
      ['mv -T d .latchfs', /busy|not empty/i],
      ['mkdir .latchfs', /File exists/],
      ['touch .latchfs/new', /Permission denied/],
      ['rm -f .latchfs/control', /not permitted/],
      ['mv f .latchfs/f; ls .latchfs/f', /cannot access|Permission denied|not permitted/],
      ['ln f .latchfs/f', /cross-device/i],
      ['chmod 666 .latchfs/control', /not permitted/],
    ] as const) {
      const ran = await m.sh(command);
      t.not(ran.status, 0, command);
      t.match(ran.stderr, message, command);
    }
    t.equal((await m.sh('cat f; ls -A')).stdout, 'data\nd\nf\n', 'all is as it was');
    t.notMatch(m.log(), /violation/);
  });
});

t.test('commands are obeyed, and what means nothing is refused with one line in the log', async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    const state = async (): Promise<string> => (await m.sh('head -n 3 .latchfs/control')).stdout;
    t.equal(await state(), 'enforce warn\ndebug none\nfrozen no\n');
    await m.sh('echo enforce=error > .latchfs/control; echo debug all > .latchfs/control');
    t.equal(await state(), 'enforce error\ndebug all\nfrozen no\n');
    await m.sh('printf "# a comment\\n\\nenforce warn\\nsync\\ndrop_caches 3\\n" > .latchfs/control');
    t.match(await state(), /^enforce warn\n/);
    for (const [command, why] of [
      ['bogus', /no command 'bogus': there are drop_caches, sync/],
      ['drop_caches 9', /drop_caches takes 1, 2 or 3, not '9'/],
      ['enforce maybe', /enforce takes off, warn, error, panic, not 'maybe'/],
      ['sync now', /sync takes no argument, not 'now'/],
      ['thaw', /EINVAL/],
      ['constructor', /no command 'constructor'/],
    ] as const) {
      const ran = await m.sh(`echo ${command} > .latchfs/control`);
      t.match(ran.stderr, /Invalid argument/, command);
      t.match(m.log(), why, command);
    }
    await m.sh('echo freeze > .latchfs/control');
    t.match(await state(), /frozen yes/);
    t.match((await m.sh('echo freeze > .latchfs/control')).stderr, /busy/);
    await m.sh('echo thaw > .latchfs/control');
    t.match(await state(), /frozen no/);
  });
});

t.test('nocontrol leaves the name free', async (t) => {
  await withMount('memory:64M', 'allow_other,nocontrol', async (m) => {
    t.match((await m.sh('ls .latchfs')).stderr, /No such file/);
    t.equal((await m.sh('mkdir .latchfs; ls -A')).stdout, '.latchfs\n');
  });
});
