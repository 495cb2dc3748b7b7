/** The options of a mount: `-o name,name=value`. */
import { GRPQUOTA, PRJQUOTA, type QuotaType, USRQUOTA } from '../fs/quota/types.js';
import type { MountOptions } from '../fuse/mount-options.js';
import type { CacheMode } from '../fuse/session-options.js';
import type { EnforceLevel } from '../sched/validator.js';
import { CliError } from './error.js';
import { FLAG_NAMES, isFlagWord, kernelFlags } from './kernel-flags.js';
import { nearest } from './nearest.js';
import { isMemory, parseSize } from './size.js';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

export const TRANSPORTS = ['dev-fuse', 'fuse-native'] as const;

/** How to speak to the kernel: /dev/fuse itself, or libfuse 2 through the npm package fuse-native. */
export type TransportName = (typeof TRANSPORTS)[number];

export interface MountSettings {
  /** The filesystem, as -o or --type says: a name, or the path of a module; undefined: latch. */
  type: string | undefined;
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
  /** Files have handles. */
  exported: boolean;
}

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
    type: undefined,
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
    exported: true,
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
  type: (s, v) => {
    if (v === '') throw new CliError('option type: it needs the name of a filesystem, or the path of a module', 2);
    s.type = v;
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
    if (v === '') throw new CliError('option fsname: it needs a name', 2);
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
  export: (s) => {
    s.exported = true;
  },
  noexport: (s) => {
    s.exported = false;
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

/** What somebody may have meant by an option that there is not, or not in this form. */
function hintFor(name: string): string {
  if (Object.hasOwn(WITH_VALUE, name)) return `: it needs a value: ${name}=…`;
  if (Object.hasOwn(PLAIN, name) || isFlagWord(name)) return `: ${name} takes no value`;
  const near = nearest(name, [...Object.keys(PLAIN), ...Object.keys(WITH_VALUE), ...FLAG_NAMES], 3);
  return near.length > 0 ? `; did you mean ${near.join(', ')}?` : ": 'latchfs mount --help' lists them";
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
      throw new CliError(`unknown option '${option}'${hintFor(name)}`, 2);
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
