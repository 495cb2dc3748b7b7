/** `latchfs contract --against FILE`: the drift between a locking document and the contract, printed. Formatting only. */
import { DocumentError, parseDocument } from '../contract/document.js';
import { type Drift, driftOf } from '../contract/drift.js';
import type { Output } from './contract.js';

/** No drift; some; a document that cannot be read. */
export type DriftStatus = 0 | 1 | 2;

/**
 * Print every difference between a document and the contract.
 *
 * @param name what to call the document in messages: its path
 * @param text the document
 * @param errors where one line goes if the document cannot be read
 * @returns the exit status: 0 without drift, 1 with drift, 2 for a document that cannot be parsed
 */
export function printDrift(
  out: Output,
  errors: Output,
  name: string,
  text: string,
  options: { readonly json?: boolean } = {},
): DriftStatus {
  let drift: readonly Drift[];
  try {
    drift = driftOf(parseDocument(text));
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    errors.write(`${name}:${error.line}: ${error.message}\n`);
    return 2;
  }
  if (options.json) out.write(`${JSON.stringify(drift, null, 2)}\n`);
  else if (drift.length === 0) out.write(`${name}: no drift\n`);
  else {
    for (const difference of drift) out.write(`${describe(name, difference)}\n`);
    out.write(`${drift.length} ${drift.length === 1 ? 'difference' : 'differences'}\n`);
  }
  return drift.length === 0 ? 0 : 1;
}

function describe(name: string, drift: Drift): string {
  const where = drift.line === undefined ? name : `${name}:${drift.line}`;
  const what = drift.op === undefined ? drift.section : `${drift.section}.${drift.op}`;
  const column = drift.column === undefined ? '' : ` [${drift.column}]`;
  const change =
    drift.contract === undefined && drift.document === undefined
      ? ''
      : `: ${quoted(drift.contract)} in the contract, ${quoted(drift.document)} in the document`;
  return `${where}: ${drift.kind}: ${what}${column}${change}`;
}

function quoted(text: string | undefined): string {
  return text === undefined || text === '' ? 'nothing' : `'${text}'`;
}
