/** How a check remembers inodes: as a table of objects would, and without an object for each file. */
import fc from 'fast-check';
import t from 'tap';
import { type DiskInode, emptyDirectory } from '../../src/latch/format/inode.js';
import { InodeTable } from '../../src/latch/fsck/inode-table.js';
import { isDirectory, newSeen, type Seen } from '../../src/latch/fsck/seen.js';

const now = { sec: -3, nsec: 7 };

function file(n: number): DiskInode {
  return { ...emptyDirectory(0, 0, n, now), mode: 0o100644, nlink: 1, size: n * 2 ** 40, uid: n, blocks: n * 8 };
}

/** What can be seen of an inode. */
function shown(seen: Seen | undefined): object | undefined {
  if (seen === undefined) return undefined;
  const { ino, disk, names, blocks, dirty, doubtful, extents, empty, subdirectories, hasEntries, foundIn, orphan } =
    seen;
  const { nodes, data, attributes } = blocks;
  return {
    ino,
    disk,
    names,
    nodes,
    data,
    attributes,
    dirty,
    doubtful,
    extents,
    empty,
    subdirectories,
    hasEntries,
    foundIn,
    orphan,
  };
}

const CHANGES: readonly ((seen: Seen, n: number) => void)[] = [
  (seen) => seen.names++,
  (seen, n) => {
    seen.disk = { ...seen.disk, nlink: n };
    seen.dirty = true;
  },
  (seen) => {
    seen.orphan = true;
  },
  (seen, n) => {
    seen.extents = [{ logical: 0, physical: n + 1, length: 1, unwritten: false }];
    seen.blocks.data = 1;
  },
  (seen, n) => {
    if (isDirectory(seen)) seen.foundIn = { dir: n, key: n };
  },
];

t.test('it remembers what a table of objects does', async (t) => {
  const step = fc.record({ what: fc.nat(5 + CHANGES.length), ino: fc.nat(40), n: fc.nat(1000) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 50, maxLength: 300 }), (steps) => {
      const table = new InodeTable();
      const model = new Map<number, Seen>();
      for (const { what, ino, n } of steps) {
        if (what < 3) {
          const make = (): Seen => {
            const seen = newSeen(ino, what === 0 ? emptyDirectory(1, 0o755, n, now) : file(n));
            Object.assign(seen.blocks, { nodes: n, data: 2 * n, attributes: 3 * n });
            return seen;
          };
          model.set(ino, make());
          const seen = make();
          table.set(ino, seen);
          table.pack(seen);
        } else if (what === 3) {
          model.delete(ino);
          table.delete(ino);
        } else if (what > 5) {
          // Two who have asked for it see the same, whoever changes it.
          const [ours, other, theirs] = [table.get(ino), table.get(ino), model.get(ino)];
          if (ours === undefined || theirs === undefined) continue;
          CHANGES[what - 6]?.(ours, n);
          CHANGES[what - 6]?.(theirs, n);
          t.strictSame(shown(other), shown(theirs));
        }
        if (table.has(ino) !== model.has(ino)) throw new Error(`has ${ino}`);
      }
      const sorted = (all: Iterable<Seen>): unknown[] => [...all].sort((a, b) => a.ino - b.ino).map(shown);
      if (JSON.stringify(sorted(table.values())) !== JSON.stringify(sorted(model.values()))) throw new Error('values');
      return (
        table.size === model.size && table.some(({ ino }) => ino > 35) === [...model.keys()].some((ino) => ino > 35)
      );
    }),
  );
});

t.test('a quarter of a million files need hardly any heap', (t) => {
  const table = new InodeTable();
  const before = process.memoryUsage().heapUsed;
  for (let ino = 16; ino < 250_016; ino++) {
    const seen = newSeen(ino, file(ino));
    table.set(ino, seen);
    table.pack(seen);
    const kept = table.get(ino);
    if (kept !== undefined) kept.names++;
  }
  globalThis.gc?.();
  const each = (process.memoryUsage().heapUsed - before) / 250_000;
  t.ok(each < 100, `${Math.round(each)} bytes each`);
  t.equal(table.size, 250_000);
  t.end();
});
