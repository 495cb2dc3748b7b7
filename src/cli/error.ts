/** Errors that the user caused or can mend: one line, no stack, and the exit status. */
export class CliError extends Error {
  /** 2: the command line is wrong. 1: it could not be done. */
  readonly status: 1 | 2;

  constructor(message: string, status: 1 | 2 = 1) {
    super(message);
    this.status = status;
  }
}

/** The one line for the user of anything that was thrown. */
export function describe(error: unknown): string {
  return error instanceof Error ? error.message.split('\n')[0] || error.name : String(error);
}
