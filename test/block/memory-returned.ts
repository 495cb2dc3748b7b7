/** Run in a process of its own: store 1 GiB, discard it, and print the resident megabytes before, between and after. */
import { readFileSync } from 'node:fs';
import { SparseMemory } from '../../src/block/memory-device.js';

const MIB = 2 ** 20;

function resident(): number {
  const [, pages] = readFileSync('/proc/self/statm', 'latin1').split(' ');
  return (Number(pages) * 4096) / MIB;
}

const memory = new SparseMemory();
const bytes = Buffer.alloc(MIB, 0xa5);
const before = resident();
for (let i = 0; i < 1024; i++) memory.write(i * MIB, bytes);
const full = resident();
// Every second mebibyte first: slabs that stay in use give back what they can too.
for (let i = 0; i < 1024; i += 2) memory.discard(i * MIB, MIB);
const half = resident();
for (let i = 1; i < 1024; i += 2) memory.discard(i * MIB, MIB);
process.stdout.write(JSON.stringify({ before, full, half, after: resident() }));
