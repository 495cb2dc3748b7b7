/** Runs in Node's thread for loading modules: 'latchfs/fs/inode' is src/fs/inode of the program that runs. */

interface Resolved {
  readonly url: string;
  readonly shortCircuit?: boolean;
}

let base = '';

/** Called once by register(). @param url of the folder with the layers */
export function initialize(url: string): void {
  base = url;
}

/** Node's hook. @param specifier as the import says @param next what Node would do */
export function resolve<Context>(
  specifier: string,
  context: Context,
  next: (specifier: string, context: Context) => Resolved | Promise<Resolved>,
): Resolved | Promise<Resolved> {
  const path = /^latchfs\/(.+?)(\.js)?$/.exec(specifier)?.[1];
  return path === undefined ? next(specifier, context) : { url: `${base}${path}.js`, shortCircuit: true };
}
