/**
 * Lock traces in the format of Chrome's trace viewer, which Perfetto opens: requests and operations are nested slices on the track of their task,
 * waits are slices in them, and each lock is a slice beside them from where it was taken to where it was dropped.
 */
import type { RequestTrace, TraceEvent } from './trace.js';

/** An event of the trace format. */
export interface ChromeEvent {
  readonly name: string;
  readonly cat: 'request' | 'operation' | 'lock' | 'wait' | 'access' | '__metadata';
  /** B and E: begin and end of a slice; b and e: of one that need not nest; i: a moment; M: a name. */
  readonly ph: 'B' | 'E' | 'b' | 'e' | 'i' | 'M';
  /** Microseconds. */
  readonly ts: number;
  readonly pid: number;
  readonly tid: number;
  /** Which of the slices that need not nest it belongs to. */
  readonly id?: string;
  /** How wide a moment is drawn: t for the task alone. */
  readonly s?: 't';
  readonly args?: Readonly<Record<string, string | number | boolean>>;
}

/** The whole file. */
export interface ChromeTrace {
  readonly displayTimeUnit: 'ns';
  readonly traceEvents: readonly ChromeEvent[];
}

/** Requests as about:tracing and Perfetto read them. */
export function chromeTrace(requests: readonly RequestTrace[]): ChromeTrace {
  return { displayTimeUnit: 'ns', traceEvents: requests.flatMap(eventsOf) };
}

function eventsOf(request: RequestTrace): ChromeEvent[] {
  const { task: tid, pid, comm, syscall, events } = request;
  const own = { pid, tid };
  const first = events[0]?.at ?? 0;
  const last = events[events.length - 1]?.at ?? first;
  const name = syscall === '' ? comm : syscall;
  const made: ChromeEvent[] = [
    { name: 'thread_name', cat: '__metadata', ph: 'M', ts: first, ...own, args: { name: `${name} #${tid}` } },
    { name, cat: 'request', ph: 'B', ts: first, ...own },
  ];
  const sleeping: string[] = [];
  for (const event of events) made.push(eventOf(event, own, sleeping));
  made.push({ name, cat: 'request', ph: 'E', ts: last, ...own });
  return made;
}

function eventOf(event: TraceEvent, own: { pid: number; tid: number }, sleeping: string[]): ChromeEvent {
  const { at: ts, name, instance = 0, mode } = event;
  const base = { name, ts, ...own };
  switch (event.what) {
    case 'enter':
      return { ...base, cat: 'operation', ph: 'B' };
    case 'leave':
      return { ...base, cat: 'operation', ph: 'E', ...(event.failed === true ? { args: { failed: true } } : {}) };
    case 'take':
    case 'drop':
      return {
        ...base,
        name: `${name} #${instance}`,
        cat: 'lock',
        ph: event.what === 'take' ? 'b' : 'e',
        id: `${own.tid}:${name}:${instance}`,
        args: { mode: mode ?? '' },
      };
    case 'sleep':
      sleeping.push(name);
      return { ...base, name: `waits for ${name}`, cat: 'wait', ph: 'B' };
    case 'wake':
      return { ...base, name: `waits for ${sleeping.pop() ?? 'an event'}`, cat: 'wait', ph: 'E' };
    case 'access':
      return { ...base, cat: 'access', ph: 'i', s: 't', args: { mode: mode ?? '' } };
  }
}
