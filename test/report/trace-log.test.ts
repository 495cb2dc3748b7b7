/** The requests that are kept: bounded, counted, written and read back. */
import t from 'tap';
import type { RequestTrace } from '../../src/report/trace.js';
import { parseTrace, TraceLog } from '../../src/report/trace-log.js';

function request(task: number, count: number): RequestTrace {
  const events = Array.from({ length: count }, (_, at) => ({ at, what: 'access' as const, name: 'i_size' }));
  return { task, comm: 'fuse', pid: 7, syscall: 'SETATTR', events };
}

t.test('the oldest make room, and are counted', (t) => {
  const log = new TraceLog(10);
  const state = { tracing: true, enforce: 'warn', by: 3, lost: 2 };
  for (let task = 1; task <= 4; task++) log.add(request(task, 4));
  const { header, requests } = parseTrace(log.text(state));
  t.same(header, { tracing: true, enforce: 'warn', by: 3, kept: 8, dropped: 10, limit: 10 });
  t.same(requests, [request(3, 4), request(4, 4)]);
  log.clear();
  t.same(parseTrace(log.text({ ...state, lost: 0 })), {
    header: { tracing: true, enforce: 'warn', by: 3, kept: 0, dropped: 0, limit: 10 },
    requests: [],
  });
  t.end();
});
