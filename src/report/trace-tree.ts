/** A lock trace as an indented tree: an operation's events stand under it, with the time since the request began. */
import type { RequestTrace, TraceEvent } from './trace.js';

/** One request; lines separated by newlines, the first of them names it. */
export function traceTree(request: RequestTrace): string {
  const { syscall, comm, pid, events } = request;
  const first = events[0]?.at ?? 0;
  const last = events[events.length - 1]?.at ?? first;
  const lines = [`${syscall === '' ? comm : syscall} (${comm}/${pid}, ${(last - first).toFixed(1)} µs)`];
  let depth = 1;
  const entered: number[] = [];
  const slept: number[] = [];
  for (const event of events) {
    if (event.what === 'leave') depth = Math.max(1, depth - 1);
    const time = (event.at - first).toFixed(1).padStart(9);
    lines.push(`${time} ${'  '.repeat(depth)}${describe(event, entered, slept)}`);
    if (event.what === 'enter') {
      depth++;
      entered.push(event.at);
    }
    if (event.what === 'sleep') slept.push(event.at);
  }
  return lines.join('\n');
}

function describe(event: TraceEvent, entered: number[], slept: number[]): string {
  const { name, instance, mode } = event;
  const lock = `${name}${instance === undefined ? '' : ` #${instance}`}`;
  switch (event.what) {
    case 'enter':
      return name;
    case 'leave':
      return `${event.failed === true ? 'failed' : 'done'} after ${since(event, entered)} (${name})`;
    case 'take':
      return `+ ${lock} ${mode === 'write' ? 'exclusive' : 'shared'}`;
    case 'drop':
      return `- ${lock}`;
    case 'sleep':
      return `waits for ${name}`;
    case 'wake':
      return `goes on after ${since(event, slept)}`;
    case 'access':
      return `${mode === 'write' ? 'changes' : 'reads'} ${name}`;
  }
}

function since(event: TraceEvent, starts: number[]): string {
  const start = starts.pop();
  return start === undefined ? 'an unknown time' : `${(event.at - start).toFixed(1)} µs`;
}
