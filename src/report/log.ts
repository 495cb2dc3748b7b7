/**
 * The log: pino, readable on a terminal, one JSON record a line elsewhere.
 *
 * report/ is what is told of locks and violations; it may import locking/ and below.
 */
import pino, { type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { Violation } from '../locking/lockdep/violation.js';
import { LogFile } from './log-file.js';
import { clauseOf, violationText } from './violation-text.js';

export type { Logger } from 'pino';

export interface LogOptions {
  readonly level: string;
  /** Where to; by default standard error. */
  readonly to?: LogFile;
}

/** Open the log. It writes synchronously, and never fails. */
export function openLog(options: LogOptions): Logger {
  const to = options.to ?? new LogFile();
  const level = { level: options.level, base: null };
  if (!to.terminal) return pino(level, to);
  const readable = prettyFactory({ ignore: 'pid,hostname' });
  return pino(level, { write: (line: string) => to.write(readable(line) ?? '') });
}

/** A sink for violations: one record each, every field named, and with it the text that lockdep's users read. */
export function violationSink(log: Logger): (violation: Violation) => void {
  return (violation) => {
    const document = clauseOf(violation);
    const record = document === undefined ? violation : { ...violation, document };
    log.error({ violation: record, report: violationText(violation) }, `locking violation: ${violation.message}`);
  };
}
