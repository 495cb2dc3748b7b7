/** The words of a command line, before they are read as options and arguments. */
import { existsSync } from 'node:fs';
import { CliError } from './error.js';
import { nearest } from './nearest.js';
import { isMemory } from './size.js';

const COMMANDS = new Set(['mount', 'umount', 'mkfs', 'fsck', 'contract', 'selftest', 'trace', 'help']);

/**
 * mount(8) calls `latchfs SOURCE MOUNTPOINT -o OPTIONS`; and `mount MOUNTPOINT` alone means the default source. Both become the full form, because an optional argument cannot come
 * first.
 * @throws CliError for a word that is neither a command nor a source
 */
export function normalise(args: readonly string[]): string[] {
  const [first] = args;
  const helper = first !== undefined && !first.startsWith('-') && !COMMANDS.has(first);
  const full = helper ? ['mount', ...args] : [...args];
  if (full[0] !== 'mount' || full.includes('--help') || full.includes('-h')) return full;
  const positional = positionals(full.slice(1));
  if (helper && positional.length < 2 && nameable(first))
    throw new CliError(`where shall ${first} be mounted? latchfs ${first} MOUNTPOINT`, 2);
  if (helper && (positional.length < 2 || !nameable(first)))
    throw new CliError(`neither a command nor an image is called '${first}'; ${commandHint(first)}`, 2);
  if (positional.length > 1) return full;
  return ['mount', 'memory', ...full.slice(1)];
}

function commandHint(word: string): string {
  const near = nearest(word, COMMANDS, 3);
  return near.length > 0 ? `did you mean ${near.join(', ')}?` : "'latchfs --help' shows the usage";
}

/** The words of a mount that are no options and no values of options. */
function positionals(words: readonly string[]): string[] {
  const takesValue = new Set(['-o', '--options', '--log', '--log-level', '--transport', '--type']);
  const end = words.includes('--') ? words.indexOf('--') : words.length;
  const before = words
    .slice(0, end)
    .filter((word, i, all) => !word.startsWith('-') && !takesValue.has(all[i - 1] ?? ''));
  return [...before, ...words.slice(end + 1)];
}

/** Whether a word can be meant as a source, and is no command that was misspelt. */
function nameable(word: string): boolean {
  return word.includes('/') || isMemory(word) || existsSync(word);
}

/** @param version of Node, as process.version @throws CliError where it lacks what is needed, which a module would say in its own words */
export function checkNode(version: string): void {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 15)) return;
  throw new CliError(`Node.js ${version} is too old: install version 20.15 or later`);
}

/** Node gives bytes that are no UTF-8 as this character: which they were cannot be told any more. @throws CliError */
export function checkWords(args: readonly string[]): void {
  const lost = args.find((word) => word.includes('\ufffd'));
  if (lost !== undefined) throw new CliError(`'${lost}' is not UTF-8: only such names can be given here`, 2);
}
