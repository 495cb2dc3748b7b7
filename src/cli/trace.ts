/** `latchfs trace MOUNTPOINT -- COMMAND [ARG...]`: runs a command and shows what its requests did under which locks. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, realpathSync, writeFileSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { isatty } from 'node:tty';
import { codeOf } from '../fuse/mount-options.js';
import { isFuse, mountAt } from '../fuse/mountinfo.js';
import type { RequestTrace } from '../report/trace.js';
import { chromeTrace } from '../report/trace-chrome.js';
import { parseTrace, type TraceHeader } from '../report/trace-log.js';
import { traceTree } from '../report/trace-tree.js';
import { CliError, describe, reason } from './error.js';

export interface TraceFlags {
  readonly format: string;
  readonly json?: boolean;
  readonly chrome?: string;
  readonly output?: string;
}

const NOTHING_SEEN =
  'latchfs: no request came: the command asked for nothing there that the kernel had not cached (-o cache=none shows all)\n';
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;
/** Passed on to the command. A terminal sends the last two to both of us. */
const SIGNALS = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
const FROM_TERMINALS = ['SIGINT', 'SIGQUIT'] as const;

/**
 * Run a command under the trace, and print the trace when it has ended.
 * @returns the command's exit status, 128 and the signal that killed it, or 127 or 126 where it could not be run
 * @throws CliError where there is nothing to trace, or the trace cannot be written
 */
export async function trace(mountpoint: string, command: readonly string[], flags: TraceFlags): Promise<number> {
  const [render, output] = rendering(flags);
  const file = traceFileOf(mountpoint);
  // Opened first: a trace that has nowhere to go is not worth the command's run.
  const out = output === undefined ? 1 : opened(output);
  tell(file, mountpoint, 'on');
  let status: number;
  let text: string;
  try {
    status = await runCommand(command);
  } finally {
    tell(file, mountpoint, 'off');
    text = readFileSync(file, 'utf8');
    tell(file, mountpoint, 'clear');
  }
  const { header, requests } = parseTrace(text);
  remark(header);
  // What we did ourselves to get at the trace is no part of it.
  const seen = requests.filter(({ pid }) => pid !== header.by);
  const ran = status !== NOT_FOUND && status !== NOT_EXECUTABLE;
  if (seen.length === 0 && ran) process.stderr.write(NOTHING_SEEN);
  await write(out, output, render(seen));
  if (output !== undefined) closeSync(out);
  return status;
}

type Render = (requests: readonly RequestTrace[]) => string;

/** How to render, and the file to write to. @throws CliError (status 2) */
function rendering({ format, json, chrome, output }: TraceFlags): [Render, string | undefined] {
  if (json === true && chrome !== undefined) throw new CliError('--json and --chrome exclude each other', 2);
  if (chrome !== undefined && output !== undefined)
    throw new CliError('--chrome names the file already: leave --output out', 2);
  if (chrome !== undefined || (format === 'chrome' && json !== true))
    return [(requests) => `${JSON.stringify(chromeTrace(requests))}\n`, chrome ?? output];
  if (json === true || format === 'json') return [(requests) => `${JSON.stringify(requests, undefined, 1)}\n`, output];
  return [(requests) => requests.map((request) => `${traceTree(request)}\n`).join('\n'), output];
}

function opened(path: string): number {
  try {
    return openSync(path, 'w', 0o666);
  } catch (error) {
    throw new CliError(`${path} cannot be written: ${reason(error)}`);
  }
}

/** The control file of the mount that a path is on. @throws CliError (status 1) */
function traceFileOf(given: string): string {
  let path: string;
  try {
    path = realpathSync(given);
  } catch (error) {
    throw new CliError(unreachable(given, error));
  }
  let mount = mountAt(path);
  while (mount === undefined && path !== '/') {
    path = dirname(path);
    mount = mountAt(path);
  }
  if (mount === undefined || !isFuse(mount)) throw new CliError(`${given} is not on a latchfs mount`);
  return join(path, '.latchfs', 'trace');
}

function unreachable(given: string, error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOENT':
      return `${given} does not exist`;
    case 'EACCES':
    case 'EPERM':
      return `${given} cannot be traced: only who mounted it may`;
    case 'ENOTCONN':
    case 'ECONNABORTED':
      return `${given} is a mount whose daemon has died`;
    default:
      return `${given} cannot be traced: ${describe(error)}`;
  }
}

/** Write one word to the control file, synchronously: requests name threads, and those of the main thread are left out. @throws CliError */
function tell(file: string, mountpoint: string, word: 'on' | 'off' | 'clear'): void {
  try {
    const fd = openSync(file, 'r+');
    try {
      writeSync(fd, word);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const code = codeOf(error);
    if (word !== 'on' && (code === 'ENOENT' || code === 'ENOTDIR'))
      throw new CliError(`${mountpoint} was unmounted while it was traced: the trace is lost`);
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new CliError(`${mountpoint} has no control directory: no latchfs, or mounted with nocontrol`);
    if (code === 'EBUSY')
      throw new CliError(`${mountpoint} is being traced already ('echo off > ${file}' ends what was left behind)`);
    throw new CliError(unreachable(mountpoint, error));
  }
}

/** Run it with our own input and output. */
function runCommand([name = '', ...args]: readonly string[]): Promise<number> {
  const signals: readonly NodeJS.Signals[] = isatty(0) ? SIGNALS : [...SIGNALS, ...FROM_TERMINALS];
  return new Promise((resolve) => {
    const child = spawn(name, args, { stdio: 'inherit' });
    const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
    const ignore = (): void => undefined;
    for (const signal of FROM_TERMINALS) process.on(signal, ignore);
    for (const signal of signals) process.on(signal, pass);
    const end = (status: number): void => {
      for (const signal of FROM_TERMINALS) process.off(signal, ignore);
      for (const signal of signals) process.off(signal, pass);
      resolve(status);
    };
    child.once('error', (error) => {
      const missing = codeOf(error) === 'ENOENT';
      const why = missing ? 'command not found' : `cannot be run: ${describe(error)}`;
      process.stderr.write(`latchfs: ${name}: ${why}\n`);
      end(missing ? NOT_FOUND : NOT_EXECUTABLE);
    });
    child.once('exit', (code, signal) => end(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

/** What the reader must know about the trace. */
function remark({ enforce, dropped, limit }: TraceHeader): void {
  if (dropped > 0) process.stderr.write(`latchfs: ${dropped} events had no room; at most ${limit} are kept\n`);
  if (enforce === 'off') process.stderr.write('latchfs: no locks are seen, because the mount has enforce=off\n');
}

/** @throws CliError naming the file */
async function write(fd: number, output: string | undefined, text: string): Promise<void> {
  if (output === undefined) {
    await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()));
    return;
  }
  try {
    writeFileSync(fd, text);
  } catch (error) {
    throw new CliError(`${output} cannot be written: ${reason(error)}`);
  }
}
