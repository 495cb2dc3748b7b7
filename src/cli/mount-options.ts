/** The options of a mount: `-o name,name=value`. */
import { GRPQUOTA, PRJQUOTA, type QuotaType, USRQUOTA } from '../fs/quota/types.js';
import type { MountOptions } from '../fuse/mount-options.js';
import type { CacheMode } from '../fuse/session-options.js';
import type { EnforceLevel } from '../sched/validator.js';
import { CliError } from './error.js';
import { isFlagWord, kernelFlags } from './kernel-flags.js';
import { isMemory, parseSize } from './size.js';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export const TRANSPORTS = ['dev-fuse', 'fuse-native'] as const;

/** How to speak to the kernel: /dev/fuse itself, or libfuse 2 through the npm package fuse-native. */
export type TransportName = (typeof TRANSPORTS)[number];

export interface MountSettings {
  readOnly: boolean;
  allowOther: boolean;
  defaultPermissions: boolean;
  nonempty: boolean;
  enforce: EnforceLevel;
  debug: boolean;
  cache: CacheMode;
  /** As -o says; undefined leaves it to --transport. */
  transport: TransportName | undefined;
  /** Bytes of a memory filesystem, where the source does not say. */
  size: number | undefined;
  /** Bytes of the page cache. */
  pageCache: number | undefined;
  log: string | undefined;
  uid: number | undefined;
  gid: number | undefined;
  fsname: string | undefined;
  subtype: string | undefined;
  /** nodev, nosuid, noexec and the like, passed on to the kernel. */
  flags: string[];
  /** Types of quotas whose limits are enforced; usage is counted for all then. */
  quota: QuotaType[];
  /** Whether `.latchfs` is there. */
  control: boolean;
  /** Whether root's mount of an image is one of a disk, by a loop device. */
  blkdev: boolean;
  remount: boolean;
  /** Changes of times alone are written with whatever else changes, or in a day. */
  lazytime: boolean;
  /** What replaces another file is written before (auto_da_alloc). */
  autoDaAlloc: boolean;
  /** Mounts of it may map identities. */
  idmap: boolean;
}

/** name → what it does, for --help. */
export const OPTION_HELP: readonly (readonly [string, string])[] = [
  ['ro, rw', 'mount read-only, or read-write (the default)'],
  ['allow_other', 'users other than the one who mounts may use it'],
  ['default_permissions', 'the kernel checks modes and ACLs (the default; no_default_permissions: latchfs alone does)'],
  ['uid=N, gid=N', 'the owner of the root directory of a memory filesystem; refused for an image, which has one'],
  ['enforce=LEVEL', 'what a locking violation does: off, warn (the default), error, panic'],
  [
    'usrquota, grpquota, prjquota',
    'enforce the limits of users, of groups, of projects (noquota: none; quota: the same as usrquota)',
  ],
  ['debug=all', 'record a stack at every lock that is taken'],
  ['cache=MODE', 'what the kernel may cache: none, auto (the default), always (dirty data too)'],
  ['transport=NAME', 'dev-fuse (the default), or fuse-native'],
  ['size=SIZE', 'the size of a memory filesystem (the default is 4G); refused for an image of another size'],
  ['page_cache=SIZE', 'the most memory for cached pages'],
  ['log=FILE', 'append the log to FILE'],
  ['fsname=, subtype=', 'what /proc/mounts shows'],
  [
    'noblkdev',
    'mount an image as root without a loop device: sync(2) then does not reach it, but its path is shown as the source',
  ],
  ['nocontrol', 'without the control directory .latchfs in the root of the mount'],
  ['idmap', 'let mount_setattr(2) map the identities of a mount (Linux 6.12 or later)'],
  ['nonempty', 'mount over a directory that has files in it'],
  ['noatime, nodiratime, lazytime', 'access times are not kept, not those of directories, not written for themselves'],
  ['strictatime', 'every read moves the access time, not only the first after a change'],
  [
    'noauto_da_alloc',
    'a file that replaces another by rename, or that was truncated to nothing, is written in its own time (auto_da_alloc: before that, or at its close; the default)',
  ],
  ['sync, dirsync', 'every change, or every change of a directory, waits for the device'],
  [
    'dev, suid, noexec, nosymfollow, …',
    'device nodes and set-user-id bits count (where root mounts), nothing is executed, no symbolic link is followed',
  ],
];

/** fstab's own words, which mean nothing to a mounted filesystem. */
const IGNORED = new Set([
  'defaults',
  'auto',
  'noauto',
  'user',
  'nouser',
  'users',
  '_netdev',
  'nofail',
  'relatime',
  'norelatime',
  'noiversion',
  'nomand',
  'silent',
  'loud',
  'group',
  'owner',
  '_rnetdev',
]);

/** What holds without an option. */
export function defaultSettings(): MountSettings {
  return {
    readOnly: false,
    allowOther: false,
    defaultPermissions: true,
    nonempty: false,
    enforce: 'warn',
    debug: false,
    cache: 'auto',
    transport: undefined,
    size: undefined,
    pageCache: undefined,
    log: undefined,
    uid: undefined,
    gid: undefined,
    fsname: undefined,
    subtype: 'latchfs',
    flags: [],
    quota: [],
    control: true,
    blkdev: true,
    remount: false,
    lazytime: false,
    autoDaAlloc: true,
    idmap: false,
  };
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value);
  if (found === undefined) throw new CliError(`option ${name}=${value}: must be one of ${allowed.join(', ')}`, 2);
  return found;
}

function id(name: string, value: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number > 0xfffffffe)
    throw new CliError(`option ${name}=${value}: must be a numeric id`, 2);
  return number;
}

const WITH_VALUE: Readonly<Record<string, (settings: MountSettings, value: string) => void>> = {
  enforce: (s, v) => {
    s.enforce = oneOf('enforce', v, ['off', 'warn', 'error', 'panic']);
  },
  cache: (s, v) => {
    s.cache = oneOf('cache', v, ['none', 'auto', 'always']);
  },
  transport: (s, v) => {
    s.transport = oneOf('transport', v, TRANSPORTS);
  },
  debug: (s, v) => {
    s.debug = oneOf('debug', v, ['all', 'none']) === 'all';
  },
  size: (s, v) => {
    s.size = parseSize(v, 'option size');
  },
  page_cache: (s, v) => {
    s.pageCache = parseSize(v, 'option page_cache');
  },
  log: (s, v) => {
    if (v === '') throw new CliError('option log: it needs the name of a file', 2);
    s.log = v;
  },
  uid: (s, v) => {
    s.uid = id('uid', v);
  },
  gid: (s, v) => {
    s.gid = id('gid', v);
  },
  fsname: (s, v) => {
    s.fsname = v;
  },
  subtype: (s, v) => {
    s.subtype = v === '' ? undefined : v;
  },
};

const PLAIN: Readonly<Record<string, (settings: MountSettings) => void>> = {
  ro: (s) => {
    s.readOnly = true;
  },
  rw: (s) => {
    s.readOnly = false;
  },
  allow_other: (s) => {
    s.allowOther = true;
  },
  default_permissions: (s) => {
    s.defaultPermissions = true;
  },
  no_default_permissions: (s) => {
    s.defaultPermissions = false;
  },
  nonempty: (s) => {
    s.nonempty = true;
  },
  control: (s) => {
    s.control = true;
  },
  nocontrol: (s) => {
    s.control = false;
  },
  blkdev: (s) => {
    s.blkdev = true;
  },
  noblkdev: (s) => {
    s.blkdev = false;
  },
  usrquota: (s) => {
    s.quota.push(USRQUOTA);
  },
  quota: (s) => {
    s.quota.push(USRQUOTA);
  },
  grpquota: (s) => {
    s.quota.push(GRPQUOTA);
  },
  prjquota: (s) => {
    s.quota.push(PRJQUOTA);
  },
  noquota: (s) => {
    s.quota = [];
  },
  remount: (s) => {
    s.remount = true;
  },
  lazytime: (s) => {
    s.lazytime = true;
  },
  idmap: (s) => {
    s.idmap = true;
  },
  nolazytime: (s) => {
    s.lazytime = false;
  },
  auto_da_alloc: (s) => {
    s.autoDaAlloc = true;
  },
  noauto_da_alloc: (s) => {
    s.autoDaAlloc = false;
  },
};

/** What /proc/mounts shows of a mount beside its options: mount(8) hands it on to a remount, where nothing of it can change. */
const SHOWN = new Set(['user_id', 'group_id', 'blksize', 'max_read']);

/** The options in a list. As for libfuse, a comma or a backslash within one has a backslash before it. */
function optionsIn(list: string): string[] {
  const options = list.match(/(?:[^,\\]|\\.|\\$)+/gs) ?? [];
  return options.map((text) => text.replace(/\\([,\\])/g, '$1'));
}

/**
 * Read `-o` lists into settings.
 * @throws CliError (status 2) for an unknown option or a value that means nothing
 */
export function parseOptions(lists: readonly string[], settings: MountSettings = defaultSettings()): MountSettings {
  const options = lists.flatMap(optionsIn);
  settings.remount = options.includes('remount');
  for (const option of options) {
    const equals = option.indexOf('=');
    const name = equals < 0 ? option : option.slice(0, equals);
    const withValue = Object.hasOwn(WITH_VALUE, name) ? WITH_VALUE[name] : undefined;
    const plain = Object.hasOwn(PLAIN, name) ? PLAIN[name] : undefined;
    if (equals >= 0 && withValue !== undefined) withValue(settings, option.slice(equals + 1));
    else if (equals < 0 && plain !== undefined) plain(settings);
    else if (equals < 0 && isFlagWord(name)) settings.flags.push(name);
    else if (settings.remount && SHOWN.has(name)) continue;
    else if (!(equals < 0 && IGNORED.has(name)) && !/^(x-|X-|comment$)/.test(name)) {
      const hint = withValue === undefined ? "'latchfs mount --help' lists them" : `it needs a value: ${name}=…`;
      throw new CliError(`unknown option '${option}': ${hint}`, 2);
    }
  }
  return settings;
}

/** What the kernel is told about a mount. */
export function kernelOptions(settings: MountSettings, source: string): MountOptions {
  return {
    fsname: settings.fsname ?? source,
    ...(settings.blkdev && !isMemory(source) ? { image: source } : {}),
    ...(settings.subtype === undefined ? {} : { subtype: settings.subtype }),
    allowOther: settings.allowOther,
    defaultPermissions: settings.defaultPermissions,
    readOnly: settings.readOnly,
    nonempty: settings.nonempty,
    ...kernelFlags(settings.flags),
  };
}
