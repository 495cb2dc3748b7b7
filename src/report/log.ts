/** The log: pino, readable on a terminal, one JSON record a line elsewhere. */
import { createWriteStream, openSync } from 'node:fs';
import pino, { type Logger } from 'pino';
import pretty from 'pino-pretty';
import type { Violation } from '../locking/lockdep.js';
import { clauseOf, violationText } from './violation-text.js';

export type { Logger } from 'pino';

export interface LogOptions {
  readonly level: string;
  /** Append to this file instead of standard error. */
  readonly file?: string;
  /** Human-readable lines instead of JSON; by default on a terminal. */
  readonly pretty?: boolean;
}

/**
 * Open the log. It writes synchronously: a record must be there when the process dies next.
 * @throws Error where the file cannot be opened
 */
export function openLog(options: LogOptions): Logger {
  const readable = options.pretty ?? (options.file === undefined && process.stderr.isTTY === true);
  const level = { level: options.level, base: null };
  if (options.file !== undefined) {
    const fd = openSync(options.file, 'a', 0o644);
    if (readable)
      return pino(level, pretty({ destination: createWriteStream('', { fd }), sync: true, colorize: false }));
    return pino(level, pino.destination({ dest: fd, sync: true }));
  }
  if (readable) return pino(level, pretty({ destination: 2, sync: true, ignore: 'pid,hostname' }));
  return pino(level, pino.destination({ dest: 2, sync: true }));
}

/** A sink for violations: one record each, every field named, and with it the text that lockdep's users read. */
export function violationSink(log: Logger): (violation: Violation) => void {
  return (violation) => {
    const document = clauseOf(violation);
    const record = document === undefined ? violation : { ...violation, document };
    log.error({ violation: record, report: violationText(violation) }, `locking violation: ${violation.message}`);
  };
}
