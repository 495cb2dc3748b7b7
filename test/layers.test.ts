/** The house rules of the source: imports point down the layer list, time and chance come from the scheduler, files stay short. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const root = fileURLToPath(new URL('../../', import.meta.url));
const src = join(root, 'src');

/** From the bottom up. A folder may import from itself and from what stands before it. */
const LAYERS = ['contract', 'sched', 'locking', 'report', 'block', 'mm', 'fs', 'control', 'latch', 'fuse', 'cli'];
const TIME_AND_CHANCE =
  /\b(setTimeout|setImmediate|setInterval|Date\.now|performance\.now|Math\.random|process\.hrtime|Promise\.race)\b/;
const MAY_READ_CLOCKS = new Set(['sched', 'report', 'fuse', 'cli']);
const MAX_BYTES = 20 * 1024;

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}

const files = sources(src);
const layerOf = (path: string): string => relative(src, path).split('/')[0] ?? '';

t.test('imports point down the layer list', (t) => {
  t.ok(files.length > 20, 'there are sources');
  const upward: string[] = [];
  for (const file of files) {
    const own = LAYERS.indexOf(layerOf(file));
    t.not(own, -1, `${relative(root, file)} lies in a known layer`);
    for (const [, target = ''] of readFileSync(file, 'utf8').matchAll(/from '(\.[^']+)'/g)) {
      const other = LAYERS.indexOf(layerOf(join(file, '..', target)));
      if (other > own) upward.push(`${relative(root, file)} imports ${target}`);
    }
  }
  t.same(upward, []);
  t.end();
});

t.test('the wire knows nothing of this filesystem', (t) => {
  const wire = files.filter(
    (file) =>
      layerOf(file) === 'fuse' &&
      !/^fuse\/(session|ops\/|creds|handles|nodes|native|anonymous)/.test(relative(src, file)),
  );
  const foreign: string[] = [];
  for (const file of wire) {
    for (const [, target = ''] of readFileSync(file, 'utf8').matchAll(/from '(\.[^']+)'/g)) {
      const path = join(file, '..', target);
      if (layerOf(path) !== 'fuse' || /fuse\/(session|ops\/)/.test(relative(src, path))) {
        foreign.push(`${relative(root, file)} imports ${target}`);
      }
    }
  }
  t.same(foreign, []);
  t.end();
});

t.test('time and chance come from the scheduler', (t) => {
  const loose = files
    .filter((file) => !MAY_READ_CLOCKS.has(layerOf(file)))
    .filter((file) => TIME_AND_CHANCE.test(readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')))
    .map((file) => relative(root, file));
  t.same(loose, []);
  t.end();
});

t.test('every file can be read in one sitting', (t) => {
  const big = files.filter((file) => statSync(file).size > MAX_BYTES).map((file) => relative(root, file));
  t.same(big, []);
  t.end();
});
