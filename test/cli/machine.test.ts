/** The machine that a mount runs on. */
import t from 'tap';
import { hostWriteback, newMachine } from '../../src/cli/machine.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';

t.test('files in memory are written back late, those of an image soon', async (t) => {
  const options = { enforce: 'warn' as const, stacks: false, pageCache: 1000 * PAGE_SIZE, sink: () => undefined };
  const { memory: ofImage } = newMachine(options);
  t.same([ofImage.bg_thresh, ofImage.dirty_thresh], [100, 200]);
  const { memory: inMemory } = newMachine({ ...options, inMemory: true });
  t.same([inMemory.bg_thresh, inMemory.dirty_thresh], [650, 850], 'most of what is written over is not written twice');
});

t.test('when things are written back is what the administrator has set for all filesystems', async (t) => {
  const dir = t.testdir({
    dirty_writeback_centisecs: '1500\n',
    dirty_expire_centisecs: '6000\n',
    dirtytime_expire_seconds: '0\n',
  });
  t.same(hostWriteback(dir), { interval: 15_000, expire: 60_000, dirtytime_expire: 0 });
  t.same(hostWriteback(t.testdir({ dirty_expire_centisecs: '-1\n' })), {}, 'what cannot be read is as usual');
});
