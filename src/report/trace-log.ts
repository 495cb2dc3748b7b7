/** The requests that were traced last, within bounds: what `.latchfs/trace` shows, and how `latchfs trace` reads it back. */
import type { RequestTrace, TraceEvent } from './trace.js';

/** Events that are kept; the oldest requests make room for new ones. */
export const KEPT_EVENTS = 100_000;

/** The first line of the text. */
export interface TraceHeader {
  /** Whether requests are recorded now. */
  readonly tracing: boolean;
  /** The level of the checks: at `off` no locks are seen. */
  readonly enforce: string;
  /** The process that switched it on last, as requests name it: what it does may be of no interest. */
  readonly by: number;
  /** Events that follow, that had no room, and that can be kept at most. */
  readonly kept: number;
  readonly dropped: number;
  readonly limit: number;
}

/** Each further line: an event with the request that it belongs to. Those of a request follow each other. */
type EventLine = Omit<RequestTrace, 'events'> & TraceEvent;

export class TraceLog {
  readonly #limit: number;
  #requests: RequestTrace[] = [];
  /** Events that are kept. */
  kept = 0;
  /** Events that have been thrown away. */
  dropped = 0;

  constructor(limit = KEPT_EVENTS) {
    this.#limit = limit;
  }

  add(request: RequestTrace): void {
    this.#requests.push(request);
    this.kept += request.events.length;
    while (this.kept > this.#limit) {
      const events = this.#requests.shift()?.events.length ?? 0;
      this.kept -= events;
      this.dropped += events;
    }
  }

  clear(): void {
    this.#requests = [];
    this.kept = 0;
    this.dropped = 0;
  }

  /** @param state what the first line says; `lost` are events that were not handed on at all */
  text(state: Pick<TraceHeader, 'tracing' | 'enforce' | 'by'> & { readonly lost: number }): string {
    const { lost, ...known } = state;
    const header: TraceHeader = { ...known, kept: this.kept, dropped: this.dropped + lost, limit: this.#limit };
    const lines = [JSON.stringify(header)];
    for (const { events, ...request } of this.#requests) {
      for (const event of events) lines.push(JSON.stringify({ ...request, ...event } satisfies EventLine));
    }
    return `${lines.join('\n')}\n`;
  }
}

/** The text of a TraceLog, read back. @throws SyntaxError where it is none */
export function parseTrace(text: string): { header: TraceHeader; requests: RequestTrace[] } {
  const [first = '', ...lines] = text.trimEnd().split('\n');
  const header = JSON.parse(first) as TraceHeader;
  const requests: (Omit<RequestTrace, 'events'> & { readonly events: TraceEvent[] })[] = [];
  for (const line of lines) {
    const { task, comm, pid, syscall, ...event } = JSON.parse(line) as EventLine;
    let request = requests[requests.length - 1];
    if (request?.task !== task) {
      request = { task, comm, pid, syscall, events: [] };
      requests.push(request);
    }
    request.events.push(event);
  }
  return { header, requests };
}
