/** The control directory of a mount: a name that is not listed, files that tell and that obey. */
import t from 'tap';
import { othersNeedRoot, withMount } from './harness.js';

t.test('the directory is there by name and nowhere else', async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    t.equal((await m.sh('ls -A')).stdout, '', 'a listing does not show it');
    t.equal(
      (await m.sh('ls .latchfs')).stdout,
      'contract\ncontrol\nfaults\nlock_stat\nlockdep\nlockdep_chains\nlockdep_stats\nmounts\nnext_violation\nquota\ntask\ntasks\ntrace\nviolations\n',
    );
    t.match((await m.sh('cat .latchfs/contract')).stdout, /inode_operations[\s\S]*rename/);
    const mounts = (await m.sh('cat .latchfs/mounts')).stdout;
    t.equal(mounts.split('\n').length, 3, mounts);
    t.match(mounts, new RegExp(`^\\S+ ${m.dir} latch `));
    t.match(mounts, new RegExp(`\\n\\S+ ${m.dir}/\\.latchfs latchctl `));
    t.equal((await m.sh('find . -mindepth 1')).stdout, '');
  });
});

t.test('others may not enter it', { skip: othersNeedRoot }, async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    t.match((await m.sh('setpriv --reuid 65534 --clear-groups ls .latchfs')).stderr, /Permission denied/);
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
    const state = async (): Promise<string> => (await m.sh('head -n 4 .latchfs/control')).stdout;
    t.equal(await state(), 'enforce warn\ndebug none\nlock_stat off\nfrozen no\n');
    await m.sh('echo enforce=error > .latchfs/control; echo debug all > .latchfs/control');
    t.equal(await state(), 'enforce error\ndebug all\nlock_stat off\nfrozen no\n');
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
    await m.sh('echo lock_stat on > .latchfs/control; mkdir d; rmdir d');
    const stat = (await m.sh('cat .latchfs/lock_stat')).stdout;
    t.match(stat, /i_rwsem/);
    await m.sh('echo 0 > .latchfs/lock_stat');
    t.notSame((await m.sh('cat .latchfs/lock_stat')).stdout, stat, 'counted anew');
    t.match((await m.sh('echo 1 > .latchfs/violations')).stderr, /Invalid argument/);
    await m.sh('echo freeze > .latchfs/control');
    t.match(await state(), /frozen yes/);
    t.match((await m.sh('echo freeze > .latchfs/control')).stderr, /busy/);
    await m.sh('echo thaw > .latchfs/control');
    t.match(await state(), /frozen no/);
  });
});

t.test('what the validator has learned can be read', async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    await m.sh('mkdir a b; echo x > a/f; mv a/f b/f; ln b/f a/g; rm b/f a/g; rmdir a b; sync');
    t.match((await m.sh('cat .latchfs/lockdep')).stdout, /s_vfs_rename_sem[\s\S]*i_rwsem/);
    t.match((await m.sh('cat .latchfs/lockdep_chains')).stdout, /s_vfs_rename_sem -> \S*i_rwsem/);
    t.match((await m.sh('cat .latchfs/lockdep_stats')).stdout, /lock-classes: +[1-9]/);
    t.equal((await m.sh('cat .latchfs/violations')).stdout, '', 'an ordinary workload breaks no rule');
  });
});

t.test('a task that waits is shown with who keeps it waiting', async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    await m.sh('echo freeze > .latchfs/control');
    const blocked = m.sh('mkdir late; echo made');
    let tasks = '';
    for (let i = 0; i < 200 && !/FUSE_MKDIR|MKDIR/.test(tasks); i++)
      tasks = (await m.sh('cat .latchfs/tasks; sleep 0.05')).stdout;
    t.match(tasks, /1 task sleeps\n.*MKDIR.*waits for s_writers/s);
    await m.sh('echo thaw > .latchfs/control');
    t.equal((await blocked).stdout, 'made\n');
    t.match((await m.sh('cat .latchfs/tasks')).stdout, /^0 tasks sleep/);
  });
});

t.test('nocontrol leaves the name free', async (t) => {
  await withMount('memory:64M', 'allow_other,nocontrol', async (m) => {
    t.match((await m.sh('ls .latchfs')).stderr, /No such file/);
    t.equal((await m.sh('mkdir .latchfs; ls -A')).stdout, '.latchfs\n');
  });
});
