import fc from 'fast-check';
import t from 'tap';
import { Message, ProtocolError } from '../../../src/fuse/protocol/message.js';
import { Opcode } from '../../../src/fuse/protocol/opcodes.js';
import { decodeHeader } from '../../../src/fuse/protocol/read.js';
import * as files from '../../../src/fuse/protocol/read-files.js';
import * as names from '../../../src/fuse/protocol/read-names.js';
import { DEFAULT_WIRE, type Wire } from '../../../src/fuse/protocol/requests.js';

const decoders: [string, (m: Message, wire: Wire) => unknown][] = [];
for (const [name, value] of [...Object.entries(files), ...Object.entries(names)]) {
  if (name.startsWith('decode')) decoders.push([name, value as (m: Message, wire: Wire) => unknown]);
}
decoders.push(['readLockOwner', (m) => files.readLockOwner(m)]);

/** Every number and string in a decoded value must come from the message; the bytes beyond it are all 0xa5. */
function leaks(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('\xa5\xa5');
  if (Buffer.isBuffer(value)) return value.includes('\xa5\xa5', 0, 'latin1');
  if (Array.isArray(value)) return value.some(leaks);
  if (value instanceof Message || value === null || typeof value !== 'object') return false;
  return Object.values(value).some(leaks);
}

/** The message in a larger buffer whose rest must not be looked at. */
function embed(bytes: Uint8Array): Message {
  const buffer = Buffer.alloc(4096 + 128, 0xa5);
  buffer.set(bytes);
  return new Message(buffer, bytes.length);
}

function attempt(bytes: Uint8Array): void {
  const message = embed(bytes);
  for (const wire of [DEFAULT_WIRE, { ...DEFAULT_WIRE, setxattrExt: false, extensions: false }]) {
    for (const [name, decode] of [['decodeHeader', decodeHeader] as const, ...decoders]) {
      try {
        if (leaks(decode(message, wire))) throw new Error(`${name} read beyond the message`);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
      }
    }
  }
}

const small = fc.uint8Array({ maxLength: 256 }).map((bytes) => bytes.map((byte) => (byte === 0xa5 ? 0 : byte)));

t.test('random bytes are decoded or refused, never more', async (t) => {
  fc.assert(fc.property(small, attempt), { numRuns: 800 });
  t.pass();
});

t.test('plausible messages, truncated and lying', async (t) => {
  const word = fc.oneof(
    fc.constantFrom(0, 1, 2, 7, 8, 15, 16, 31, 32, 40, 255, 4096, 0xffff, 0x1fffff, 0x200000, 0x7fffffff, 0xffffffff),
    fc.nat(64),
  );
  const name = fc.constantFrom(
    'a\0',
    'ab\0cd\0',
    '\0',
    '.\0',
    '..\0',
    'a/b\0',
    'none',
    `${'n'.repeat(300)}\0`,
    'x\0/\0',
  );
  const message = fc
    .record({
      opcode: fc.constantFrom(...Object.values(Opcode)),
      extlen: fc.nat(20),
      words: fc.array(word, { maxLength: 24 }),
      names: fc.array(name, { maxLength: 3 }),
      tail: small,
      cut: fc.nat(400),
      truthful: fc.boolean(),
    })
    .map(({ opcode, extlen, words, names, tail, cut, truthful }) => {
      const bytes = Buffer.concat([
        Buffer.from(new Uint32Array([0, opcode, 2, 0, 1, 0, 0, 0, 0, extlen]).buffer),
        Buffer.from(new Uint32Array(words).buffer),
        Buffer.from(names.join(''), 'latin1'),
        tail,
      ]);
      const result = bytes.subarray(0, Math.max(cut % 3 === 0 ? 0 : 40, bytes.length - (cut % 64)));
      if (truthful && result.length >= 40) result.writeUInt32LE(result.length, 0);
      return new Uint8Array(result);
    });
  fc.assert(fc.property(message, attempt), { numRuns: 1500 });
  t.pass();
});
