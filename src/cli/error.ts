/** Errors that the user caused or can mend: one line, no stack, and the exit status. */
export class CliError extends Error {
  /** 2: the command line is wrong. 1: it could not be done. */
  readonly status: 1 | 2;

  constructor(message: string, status: 1 | 2 = 1) {
    super(message);
    this.status = status;
  }
}

/** The one line for the user of anything that was thrown. What it names may have a line feed in its name. */
export function describe(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text
    .trim()
    .replace(/\p{Cc}/gu, (c) => (c === '\n' ? '\\n' : `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`));
}

/** Why a system call of Node's failed, in the system's words: "no space left on device". */
export function reason(error: unknown): string {
  const text = describe(error);
  return /^E[A-Z0-9]+: ([^,]+)(, .*)?$/.exec(text)?.[1] ?? text;
}

/** Where the code of a module of the user's own has failed, in brackets; empty where that is not known. */
export function placeOf(error: unknown): string {
  const where = error instanceof Error ? /\(?(file:[^)\s]+:\d+)/.exec(error.stack ?? '')?.[1] : undefined;
  return where === undefined ? '' : ` (${where})`;
}
