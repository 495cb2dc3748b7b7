/** Names of entries that fsck puts into directories. Pure data. */
import type { NameRules } from '../dir.js';
import { KEYS_OF_HASH } from '../names.js';
import type { DirEntry } from './seen.js';

/** Give entries the keys of their names, in order. Of several with one name, the first is kept. */
export function keyed(entries: readonly Omit<DirEntry, 'key'>[], { keyOf, fold }: NameRules): DirEntry[] {
  const names = new Set<string>();
  const sorted = entries
    .filter(({ name }) => !names.has(fold(name)) && names.add(fold(name)))
    .map((entry) => ({ ...entry, key: keyOf(entry.name) }))
    .sort((a, b) => a.key - b.key);
  const out: DirEntry[] = [];
  for (const entry of sorted) {
    const last = out[out.length - 1];
    const key = last !== undefined && last.key >= entry.key ? last.key + 1 : entry.key;
    if (key < entry.key + KEYS_OF_HASH) out.push({ ...entry, key });
  }
  return out;
}
