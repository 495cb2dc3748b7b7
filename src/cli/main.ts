/**
 * The command line: `latchfs mount|umount|mkfs|fsck|contract|selftest|trace`, and the form that mount(8) calls. A command is loaded when it is asked for: the filesystem is a
 * few hundred files, which umount and --help need not wait for.
 *
 * cli/ is the commands; it may import fuse/ and below.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { CliError, describe, reason } from './error.js';
import type { FsckFlags } from './fsck.js';
import type { MkfsFlags } from './image.js';
import type { MountFlags } from './mount.js';
import { OPTION_HELP } from './mount-help.js';
import { LOG_LEVELS, TRANSPORTS } from './mount-options.js';
import type { TraceFlags } from './trace.js';
import { checkNode, checkWords, normalise } from './words.js';

function version(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  const manifest: unknown = JSON.parse(text);
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '';
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function optionTable(): string {
  const width = Math.max(...OPTION_HELP.map(([name]) => name.length)) + 2;
  return OPTION_HELP.map(([name, text]) => `  ${name.padEnd(width)}${text}`).join('\n');
}

function mountOptions(command: Command): Command {
  return command
    .usage('[options] [SOURCE] MOUNTPOINT')
    .argument('<source>', "'memory' (if left out), 'memory:SIZE' (4G if left out), or the path of an image")
    .argument('<mountpoint>', 'an empty directory, or /dev/fd/N for a descriptor that somebody else mounted')
    .addOption(
      new Option('-o, --options <list>', 'mount options, separated by commas').argParser(collect).default([], 'none'),
    )
    .option('-f, --foreground', 'stay in the foreground')
    .option('--type <name>', "the filesystem: 'latch' (if left out), 'ramfs', or the path of a module that exports one")
    .option('--log <file>', 'append the log to a file')
    .addOption(new Option('--log-level <level>', 'how much to log').choices(LOG_LEVELS).default('info'))
    .addOption(new Option('--transport <name>', 'how to speak to the kernel').choices(TRANSPORTS).default('dev-fuse'))
    .addHelpText('after', `\nMount options (-o):\n${optionTable()}\n\nSIZE: bytes, or a number with K, M, G or T.`);
}

interface ContractFlags {
  readonly json?: boolean;
  readonly against?: string;
  readonly dubious?: boolean;
  readonly observed?: boolean;
  readonly coverage?: boolean;
}

async function contractCommand(operation: string | undefined, given: ContractFlags): Promise<void> {
  const json = given.json === true;
  const wanted = (['observed', 'coverage', 'dubious', 'against'] as const).filter((name) => given[name] !== undefined);
  const [first, second] = [
    ...wanted.map((name) => `--${name}`),
    ...(operation === undefined ? [] : [`'${operation}'`]),
  ];
  if (wanted.length > 0 && second !== undefined)
    throw new CliError(
      `${first} and ${second} cannot be asked for together; 'latchfs contract --help' shows the usage`,
      2,
    );
  if (given.observed === true) {
    const { printObserved } = await import('./contract-observed.js');
    endWith(await printObserved(process.stdout, { json }));
  } else if (given.coverage === true) {
    const { measureCoverage, printCoverage } = await import('./contract-coverage.js');
    endWith(printCoverage(process.stdout, await measureCoverage(), { json }));
  } else if (given.dubious === true) (await import('./contract-dubious.js')).printDubious(process.stdout, { json });
  else if (given.against === undefined) {
    (await import('./contract.js')).printContract(process.stdout, operation, { json });
  } else {
    const text = readDocument(given.against);
    const { printDrift } = await import('./contract-against.js');
    endWith(printDrift(process.stdout, process.stderr, given.against, text, { json }));
  }
}

function endWith(status: number): void {
  if (status !== 0) throw new Ended(status);
}

/** @throws CliError (status 2) naming the file */
function readDocument(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError(`${path} cannot be read: ${reason(error)}`, 2);
  }
}

/** Everything has been said already; only the exit status is left. */
class Ended extends Error {
  readonly status: number;

  constructor(status: number) {
    super();
    this.status = status;
  }
}

function program(): Command {
  const root = new Command('latchfs');
  root
    .description(
      "the kernel's VFS locking contract, mounted: a filesystem whose every operation runs under the locks the contract prescribes",
    )
    .version(version(), '-V, --version')
    .configureOutput({
      outputError: (text, write) => {
        const said = text
          .trim()
          .replace(/^error: /, 'latchfs: ')
          .replace(/\.$/, '')
          .replaceAll('\n', ' ');
        write(`${said}; 'latchfs --help' shows the usage\n`);
      },
    })
    .addHelpText(
      'after',
      `
As a mount helper: latchfs SOURCE MOUNTPOINT -o OPTIONS, so that these work once it is installed:
  mount -t fuse.latchfs memory:1G /mnt -o allow_other
  /srv/disk.img  /mnt  fuse.latchfs  defaults  0 0      (a line of /etc/fstab)`,
    );
  addCommands(root);
  return root;
}

function addCommands(root: Command): void {
  mountOptions(root.command('mount'))
    .description('mount a filesystem in memory or from an image')
    .action(async (source: string, mountpoint: string, given: MountFlags) =>
      (await import('./mount.js')).mountCommand(source, mountpoint, given),
    );
  root
    .command('umount')
    .description('unmount, also what a daemon that died has left')
    .argument('<mountpoint>')
    .option('-l, --lazy', 'detach now, finish when nobody uses it any more')
    .action(async (mountpoint: string, given: { lazy?: boolean }) =>
      (await import('./umount.js')).umount(mountpoint, { lazy: given.lazy === true }),
    );
  root
    .command('mkfs')
    .description('make an empty filesystem in an image file or on a block device')
    .argument('<image>')
    .option('--size <size>', 'the size of the image; needed where it does not exist yet')
    .option('--label <text>', 'a name for the filesystem, up to 16 bytes')
    .option('--quota', 'count what users and groups have from the first mount on')
    .option('--force', 'overwrite a filesystem that is there')
    .action(async (image: string, given: MkfsFlags) => (await import('./image.js')).mkfsCommand(image, given));
  fsckOptions(root.command('fsck'));
  contractOptions(root.command('contract'));
  root
    .command('selftest')
    .description(
      'play right and wrong uses of every kind of lock on the validator: exits with 0 where it judges all of them rightly',
    )
    .option('--json', 'as JSON')
    .action(async (given: { json?: boolean }) => {
      const { selftest } = await import('./selftest.js');
      const status = await selftest(process.stdout, { json: given.json === true });
      if (status !== 0) throw new Ended(status);
    });
  traceCommand(root.command('trace'));
}

function fsckOptions(command: Command): void {
  command
    .description('check an image that is not mounted, and repair it: each problem is one line')
    .argument('<image>', 'path of the image')
    .option('-n', 'only look, which is the default: nothing is written, the log is replayed in memory')
    .option('-p', 'replay the log; repair if all that is wrong can be put right without a choice and without a loss')
    .option('-a', 'the same as -p')
    .option('-y', 'repair everything')
    .option('-f', 'check though it says that it is clean, which is always done')
    .addHelpText(
      'after',
      `
Exit status, as of fsck(8): 0 nothing is wrong; 1 all that was wrong is repaired; 4 something is wrong still; 5 both; 8 it could not be
checked; 16 the command line is wrong. Without a loss are: counts, bitmaps, link counts, types of entries, '..', the copy of the superblock.
-y also gives what has no name one in /lost+found ('#' and the number of the inode), copies blocks that two files have, takes the superblock from
its copy, begins the journal anew, keeps of damaged trees what is left, and clears what is none. What was repaired is checked again.`,
    )
    .action(async (image: string, given: FsckFlags) => {
      const { fsckCommand } = await import('./fsck.js');
      endWith(await fsckCommand(image, given));
    });
}

function contractOptions(command: Command): void {
  command
    .description('print the locking contract, or one operation of it')
    .argument('[operation]', "for example 'rename' or 'file_operations.fsync'")
    .option('--json', 'as JSON')
    .option(
      '--against <document>',
      'compare with a locking document: exits with 0 without drift, 1 with, 2 if it cannot be read',
    )
    .option('--dubious', 'list where the document contradicts itself or what is observed')
    .option(
      '--observed',
      'run a workload and print which locks were held: exits with 1 where that is not what is prescribed',
    )
    .option('--coverage', 'run a workload and count the calls of each operation: exits with 1 where one is not called')
    .action(contractCommand);
}

function traceCommand(command: Command): void {
  command
    .description('run a command and print what each of its requests did: operations, locks taken and dropped, waits')
    .usage('[options] MOUNTPOINT -- COMMAND [ARG...]')
    .argument('<mountpoint>', 'where latchfs is mounted, or a path within')
    .argument('<command...>', 'what to run; its exit status is that of the trace')
    .addOption(new Option('--format <name>', 'how to print it').choices(['tree', 'json', 'chrome']).default('tree'))
    .option('--json', 'the same as --format json: an array of requests, each with its events')
    .option('--chrome <file>', 'the same as --format chrome --output FILE: open it in Perfetto (ui.perfetto.dev)')
    .option('-o, --output <file>', 'write it to a file instead of standard output')
    .action(async (mountpoint: string, words: string[], given: TraceFlags) => {
      const { trace } = await import('./trace.js');
      const status = await trace(mountpoint, words, given);
      if (status !== 0) throw new Ended(status);
    })
    .addHelpText(
      'after',
      `
All requests of the mount are recorded while the command runs, also those of other processes. Times are microseconds; of 100000
events the oldest make room. Names and data that the kernel has cached make no request: mount with -o cache=none to see all.`,
    );
}

/** Run the command line. @returns the exit status */
export async function main(args: readonly string[]): Promise<number> {
  const root = program();
  for (const command of [root, ...root.commands]) command.exitOverride();
  try {
    checkNode(process.version);
    checkWords(args);
    await root.parseAsync(normalise(args), { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof Ended) return error.status;
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : args[0] === 'fsck' ? 16 : 2;
    process.stderr.write(`latchfs: ${describe(error)}\n`);
    return error instanceof CliError ? error.status : 1;
  }
}

// A reader that has seen enough (head, less) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.stderr.write(`latchfs: standard output cannot be written: ${reason(error)}\n`);
  process.exit(1);
});
// A file that may not grow any more is an error that is told (EFBIG), and not the end of who serves a filesystem.
process.on('SIGXFSZ', () => undefined);
// Where not even that can be said, there is nothing more to say.
process.stderr.on('error', () => undefined);
process.exitCode = await main(process.argv.slice(2));
