/** Where a function is written, asked of the engine: for the reports of an operation that has returned, and is on no stack any more. */
import { type Debugger, type Runtime, Session } from 'node:inspector';
import { findSourceMap } from 'node:module';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeFrame, type Frame } from './stack.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Where the engine finds what it is asked about. */
const SLOT = Symbol.for('latchfs.implementation');
/** The names under which the layer that calls an operation has it at hand, besides the operation's own. */
const ALIASES = ['op', 'operation', 'shutdown'];

/** One conversation with the engine. Everything in it is answered at once. */
class Engine {
  readonly #session = new Session();
  readonly #scripts = new Map<string, string>();

  constructor() {
    this.#session.connect();
    this.#session.on('Debugger.scriptParsed', ({ params }: { params: Debugger.ScriptParsedEventDataType }) =>
      this.#scripts.set(params.scriptId, params.url),
    );
    this.#session.post('Debugger.enable');
  }

  end(): void {
    this.#session.post('Debugger.disable');
    this.#session.disconnect();
  }

  /** What stands for a value of ours. */
  handle(value: object): string | undefined {
    Reflect.set(globalThis, SLOT, value);
    let id: string | undefined;
    this.#session.post(
      'Runtime.evaluate',
      { expression: "globalThis[Symbol.for('latchfs.implementation')]" },
      (_error, answer) => {
        id = answer?.result.objectId;
      },
    );
    Reflect.deleteProperty(globalThis, SLOT);
    return id;
  }

  properties(objectId: string): Runtime.GetPropertiesReturnType | undefined {
    let found: Runtime.GetPropertiesReturnType | undefined;
    this.#session.post('Runtime.getProperties', { objectId, ownProperties: true }, (_error, answer) => {
      found = answer;
    });
    return found;
  }

  /** The function `name` among what a closure has captured: by its name, in an object of operations, or the only function that there is. */
  captured(closure: string, name: string): string | undefined {
    const variables = this.#variables(closure);
    const functions = variables.filter(({ value }) => value?.type === 'function');
    for (const known of [name, ...ALIASES]) {
      const found = functions.find((one) => one.name === known)?.value?.objectId;
      if (found !== undefined) return found;
    }
    for (const { value } of variables) {
      if (value?.type !== 'object' || value.objectId === undefined) continue;
      const members = this.properties(value.objectId)?.result ?? [];
      const found = members.find((one) => one.name === name && one.value?.type === 'function')?.value?.objectId;
      if (found !== undefined) return found;
    }
    return functions.length === 1 ? functions[0]?.value?.objectId : undefined;
  }

  /** What a closure has captured, innermost first. */
  #variables(closure: string): Runtime.PropertyDescriptor[] {
    const scopes = this.#internal(closure, '[[Scopes]]')?.objectId;
    if (scopes === undefined) return [];
    return (this.properties(scopes)?.result ?? []).flatMap(({ value: scope }) => {
      if (scope?.objectId === undefined || !/^(Closure|Block)/.test(scope.description ?? '')) return [];
      return this.properties(scope.objectId)?.result ?? [];
    });
  }

  /** Where a function is written: in its TypeScript source where that is known. */
  place(id: string): Frame | undefined {
    const location = this.#internal(id, '[[FunctionLocation]]')?.value as Debugger.Location | undefined;
    const url = location === undefined ? undefined : this.#scripts.get(location.scriptId);
    if (location === undefined || url === undefined || !url.startsWith('file:')) return undefined;
    const name = String(this.properties(id)?.result.find((one) => one.name === 'name')?.value?.value ?? '');
    const column = location.columnNumber ?? 0;
    const entry = findSourceMap(url)?.findEntry(location.lineNumber, column);
    const mapped = entry !== undefined && 'originalSource' in entry ? entry : undefined;
    const file = relative(root, fileURLToPath(mapped?.originalSource ?? url));
    const [row, at] =
      mapped === undefined ? [location.lineNumber, column] : [mapped.originalLine, mapped.originalColumn];
    return { name, file, line: row + 1, column: at + 1 };
  }

  #internal(id: string, name: string): Runtime.RemoteObject | undefined {
    return this.properties(id)?.internalProperties?.find((one) => one.name === name)?.value;
  }
}

/**
 * Where an operation is written, as `function (file:line:column)`. Takes milliseconds: for reports only.
 * @param operation the function, or a closure that calls it
 * @param name of the operation
 * @returns undefined where the engine does not tell
 */
export function locate(operation: object, name: string): string | undefined {
  const engine = new Engine();
  try {
    const given = engine.handle(operation);
    if (given === undefined) return undefined;
    const frame = engine.place(engine.captured(given, name) ?? given);
    return frame === undefined ? undefined : describeFrame(frame);
  } finally {
    engine.end();
  }
}
