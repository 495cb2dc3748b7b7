/** The house rules of the source: imports point down the layer list, time and chance come from the scheduler, files stay short, what is exported is explained. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const root = fileURLToPath(new URL('../../', import.meta.url));
const src = join(root, 'src');

/** From the bottom up. A folder may import from itself and from what stands before it. */
const LAYERS = [
  'contract',
  'uapi',
  'sched',
  'locking',
  'report',
  'block',
  'mm',
  'fs',
  'ramfs',
  'control',
  'latch',
  'fuse',
  'cli',
];
const TIME_AND_CHANCE =
  /\b(setTimeout|setImmediate|setInterval|Date\.now|performance\.now|Math\.random|process\.hrtime|Promise\.race|clock_gettime|coarseTime)\b/;
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

/** The file of each layer that is read first. Numbers have none: a header each. */
const MAIN = new Map([
  ['contract', 'row'],
  ['sched', 'scheduler'],
  ['locking', 'context'],
  ['report', 'log'],
  ['block', 'block-device'],
  ['mm', 'address-space'],
  ['fs', 'super-block'],
  ['ramfs', 'ramfs'],
  ['control', 'super'],
  ['latch', 'super'],
  ['fuse', 'session'],
  ['cli', 'main'],
]);

t.test('the main file of a layer says what the layer is, and what it may import', (t) => {
  for (const [i, layer] of LAYERS.entries()) {
    const main = MAIN.get(layer);
    if (main === undefined) continue;
    const [said = ''] = /\/\*\*[\s\S]*?\*\//.exec(readFileSync(join(src, layer, `${main}.ts`), 'utf8')) ?? [];
    const below = LAYERS[i - 1];
    const may = below === undefined ? 'nothing' : `${below}/ and below`;
    t.match(said, new RegExp(`\\b${layer}/ is [^;]+; it may import ${may}`), layer);
  }
  t.end();
});

/** What of fuse/ serves this filesystem; all else is the wire: protocol, device, loop, mounting. */
const SERVING = /^fuse\/(session|ops\/|creds|handles|nodes|native|anonymous)/;
/** Layers of ours that it may use as well: numbers. */
const WIRE_LAYERS = ['uapi'];
/** Packages that the wire may use. Of Node.js it may use anything. */
const WIRE_PACKAGES = ['koffi'];

t.test('the wire knows nothing of this filesystem', (t) => {
  const isWire = (path: string): boolean => layerOf(path) === 'fuse' && !SERVING.test(relative(src, path));
  const wire = files.filter(isWire);
  t.ok(wire.length > 20, 'there is a wire');
  const foreign: string[] = [];
  for (const file of wire) {
    for (const [, target = ''] of readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*'([^']+)'/g)) {
      const path = join(file, '..', target);
      const own = target.startsWith('.') && (isWire(path) || WIRE_LAYERS.includes(layerOf(path)));
      if (!own && !target.startsWith('node:') && !WIRE_PACKAGES.includes(target)) {
        foreign.push(`${relative(root, file)} imports ${target}`);
      }
    }
  }
  t.same(foreign, []);
  t.end();
});

/** What a file imports from others of ours when it runs: types are gone by then. */
function runtimeImports(file: string): string[] {
  const found: string[] = [];
  const statement = /^(?:import|export) (?!type )([^;]*?)\bfrom '(\.[^']+)';/gm;
  for (const [, names = '', target = ''] of readFileSync(file, 'utf8').matchAll(statement)) {
    const listed = /^\{([^}]*)\}\s*$/
      .exec(names)?.[1]
      ?.split(',')
      .filter((name) => name.trim() !== '');
    if (listed?.every((name) => name.trim().startsWith('type ')) === true) continue;
    found.push(join(file, '..', target).replace(/\.js$/, '.ts'));
  }
  return found;
}

/** What is left of the imports when files that import nothing that is left, and then files that nothing left imports, are taken away: those in circles, or between them. */
function inCircles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const left = new Map(imports);
  for (let before = -1; before !== left.size; ) {
    before = left.size;
    for (const [file, to] of [...left]) if (!to.some((other) => left.has(other))) left.delete(file);
    const wanted = new Set([...left.values()].flat());
    for (const file of [...left.keys()]) if (!wanted.has(file)) left.delete(file);
  }
  return [...left.keys()];
}

t.test('files do not import each other in circles', (t) => {
  const imports = new Map(files.map((file) => [file, runtimeImports(file)]));
  t.ok([...imports.values()].flat().length > 1000, 'there are imports');
  t.same(
    inCircles(imports).map((file) => relative(root, file)),
    [],
  );
  const planted = new Map([
    ...imports,
    [join(src, 'sched/task.ts'), [join(src, 'sched/wait.ts')]],
    [join(src, 'sched/wait.ts'), [join(src, 'sched/task.ts')]],
  ] as const);
  t.ok(inCircles(planted).includes(join(src, 'sched/task.ts')), 'a circle is seen');
  t.end();
});

t.test('only mm changes the flags of folios and the trees that they are in', (t) => {
  const own = join(src, 'mm/folio-fields.ts');
  t.match(readFileSync(own, 'utf8'), /export function fields_of.*export function tree_of/s);
  const users = files.filter(
    (file) => file !== own && /\b(fields_of|tree_of|writeback_of)\b/.test(readFileSync(file, 'utf8')),
  );
  t.ok(users.length > 5, 'they are changed');
  t.same(
    users.filter((file) => layerOf(file) !== 'mm').map((file) => relative(root, file)),
    [],
  );
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

t.test('every exported function says what it does', (t) => {
  const silent: string[] = [];
  let said = 0;
  for (const file of files) {
    const text = readFileSync(file, 'utf8');
    // Of overloads the first one says it.
    const seen = new Set<string>();
    for (const { 1: doc, 2: name = '' } of text.matchAll(/(\*\/\n)?^export (?:async )?function\*? (\w+)/gm)) {
      if (doc !== undefined) said++;
      else if (!seen.has(name)) silent.push(`${relative(root, file)}: ${name}`);
      seen.add(name);
    }
  }
  t.ok(said > 1000, 'there are functions');
  t.same(silent, []);
  t.end();
});

t.test("the numbers of the kernel's interface have one home", (t) => {
  const declared = (path: string): string[] =>
    [...readFileSync(path, 'utf8').matchAll(/^(?:export )?const ([A-Z][A-Z0-9_]+) = /gm)].map(([, name = '']) => name);
  const own = new Set(files.filter((path) => layerOf(path) === 'uapi').flatMap(declared));
  t.ok(own.size > 150, 'there are numbers');
  const again = files
    .filter((path) => layerOf(path) !== 'uapi')
    .flatMap((path) => declared(path).flatMap((name) => (own.has(name) ? [`${relative(root, path)}: ${name}`] : [])));
  t.same(again, []);
  t.end();
});
