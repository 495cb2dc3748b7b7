/**
 * The memory of requests under way, for the deep checks: who says that a page was read or written, or gives it back, before the device is done with it
 * hands out bytes that still change, or lets others change what is still being written.
 */
import type { Bio } from './bio.js';

interface Span {
  readonly op: 'read' | 'write';
  readonly start: number;
  readonly end: number;
}

/** By the memory that buffers are cut out of. */
const spans = new WeakMap<ArrayBufferLike, Map<object, Span>>();

/** A request is on its way. Each of its buffers is an object of its own. */
export function io_begins({ op, vecs }: Bio): void {
  if (op !== 'read' && op !== 'write') return;
  for (const vec of vecs) {
    let of = spans.get(vec.buffer);
    if (of === undefined) {
      of = new Map();
      spans.set(vec.buffer, of);
    }
    of.set(vec, { op, start: vec.byteOffset, end: vec.byteOffset + vec.length });
  }
}

/** The device is done with it. */
export function io_ends({ vecs }: Bio): void {
  for (const vec of vecs) spans.get(vec.buffer)?.delete(vec);
}

/** What a device does with any of these bytes right now; undefined where it does nothing, or where nobody has said that it does. */
export function io_under_way(bytes: Buffer): 'read' | 'write' | undefined {
  const of = spans.get(bytes.buffer);
  if (of === undefined || of.size === 0) return undefined;
  const end = bytes.byteOffset + bytes.length;
  for (const span of of.values()) if (span.start < end && bytes.byteOffset < span.end) return span.op;
  return undefined;
}
