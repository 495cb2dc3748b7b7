/** Directories without regard to case on a mount, where the kernel has names of its own in its cache. */
import t from 'tap';
import { withMount } from './harness.js';

for (const cache of ['none', 'auto', 'always']) {
  t.test(`every way to write a name, with cache=${cache}`, async (t) => {
    await withMount('memory:64M', `cache=${cache}`, async (m) => {
      const sh = async (command: string): Promise<string> => (await m.sh(`set +e; ${command}`)).stdout.trim();
      await sh('mkdir d; stat d/foo; stat d/FOO; chattr +F d; echo one > d/Foo');
      t.equal(await sh('cat d/foo d/FOO d/fOo'), 'one\none\none', 'also those that were not there before');
      t.equal(await sh('lsattr -d d | cut -d" " -f1 | tr -d -'), 'F');
      t.equal(await sh('echo two > d/FOO; cat d/foo; ls d'), 'two\nFoo');
      t.equal(await sh('mkdir d/Sub; touch d/sub/x; ls d/SUB'), 'x');
      t.equal(await sh('cd d/sub; rm -r ../SUB; cd ../..; ls d'), 'Foo');
      t.equal(await sh('rm d/fOO; cat d/foo d/Foo d/FOO 2>&1 | grep -c "No such"'), '3', 'gone by every name');
      t.equal(await sh('echo three > d/fOO; ls d; cat d/FOO'), 'fOO\nthree');
      t.match((await m.sh('chattr -F d')).stderr, /not empty/);
      t.equal(await sh('mv d/foo other; ls d; chattr -F d; touch d/a d/A; ls d | wc -l'), '2');
    });
  });
}
