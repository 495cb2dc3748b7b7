// Version and flag negotiation: the kernel's INIT and a list of wishes give the reply, and what both sides are bound to from then on.

import { FUSE_KERNEL_VERSION, INIT, INIT2, NEWEST_MINOR, OLDEST_MINOR } from './protocol/flags.js';
import type { InitIn, Wire } from './protocol/requests.js';
import type { InitOut } from './protocol/write.js';

/** What the filesystem would like; a flag that the kernel does not offer is left out. */
export interface InitWishes {
  /** INIT bits */
  readonly flags: number;
  /** INIT2 bits */
  readonly flags2: number;
  /** bytes of data in one READ or WRITE; default 1 MiB */
  readonly maxWrite?: number;
  /** bytes; default what the kernel offers */
  readonly maxReadahead?: number;
  /** asynchronous requests the kernel keeps in flight; default 64 */
  readonly maxBackground?: number;
  /** in flight from which the kernel calls the filesystem congested; default three quarters of maxBackground */
  readonly congestionThreshold?: number;
  /** nanoseconds, the resolution of time stamps; default 1 */
  readonly timeGran?: number;
  /** seconds after which the kernel gives up the connection, with INIT2.REQUEST_TIMEOUT; default none */
  readonly requestTimeout?: number;
  /** how deep INIT2.PASSTHROUGH may stack; default 0 */
  readonly maxStackDepth?: number;
  /** longest file name in bytes; default 255 */
  readonly nameMax?: number;
  /** Whether OPEN may be answered with ENOSYS ("no opens any more"). */
  readonly noOpen?: boolean;
  /** Whether OPENDIR may be. */
  readonly noOpendir?: boolean;
}

/** What holds for the whole connection. */
export interface Negotiated extends Wire {
  /** Bits that both sides have. */
  readonly flags: number;
  readonly flags2: number;
  readonly maxWrite: number;
  readonly maxPages: number;
  /**
   * Whether OPEN may be answered with ENOSYS: only when the kernel knows what it means (NO_OPEN_SUPPORT), and never together with
   * ATOMIC_O_TRUNC, where the kernel would skip the truncation that it leaves to OPEN.
   */
  readonly mayRefuseOpen: boolean;
  readonly mayRefuseOpendir: boolean;
  /** Whether mounts may map identities: requests that make nothing then come without uid and gid. */
  readonly mapped: boolean;
}

export type InitAnswer =
  /** Reply this; the connection is set up. */
  | { readonly kind: 'ready'; readonly reply: InitOut; readonly negotiated: Negotiated }
  /** The kernel speaks a newer major version: reply this (major and minor count) and expect another INIT. */
  | { readonly kind: 'again'; readonly reply: InitOut }
  /** Too old: reply EPROTO and end; `reason` is one line for the user. */
  | { readonly kind: 'refuse'; readonly reason: string };

const PAGE = 4096;
/** init_out.max_pages is a uint16; the kernel lowers it to its own limit (256, or fs.fuse.max_pages_limit). */
const MAX_PAGES = 65535;
/** Without MAX_PAGES a request carries 32 pages. */
const DEFAULT_PAGES = 32;
/** Kernels before 7.36 know no flags2; INIT_EXT in the reply says that it is filled. */
const ALWAYS = INIT.BIG_WRITES | INIT.MAX_PAGES | INIT.INIT_EXT;

/**
 * Answers the kernel's INIT.
 * @returns the reply with the smaller minor version of the two, and the intersection of the flags
 */
export function negotiate(init: InitIn, wishes: InitWishes): InitAnswer {
  if (init.major > FUSE_KERNEL_VERSION) return { kind: 'again', reply: initOut({ minor: NEWEST_MINOR }) };
  if (init.major < FUSE_KERNEL_VERSION || init.minor < OLDEST_MINOR) {
    return {
      kind: 'refuse',
      reason:
        `the kernel speaks FUSE ${init.major}.${init.minor}, but ${FUSE_KERNEL_VERSION}.${OLDEST_MINOR} ` +
        '(Linux 5.4) is the oldest supported',
    };
  }
  const minor = Math.min(init.minor, NEWEST_MINOR);
  const extended = (init.flags & INIT.INIT_EXT) !== 0;
  let flags = init.flags & (wishes.flags | ALWAYS);
  const flags2 = extended ? init.flags2 & wishes.flags2 : 0;
  const noOpen = wishes.noOpen === true && (init.flags & INIT.NO_OPEN_SUPPORT) !== 0;
  if (noOpen) flags &= ~INIT.ATOMIC_O_TRUNC;
  const hasMaxPages = (flags & INIT.MAX_PAGES) !== 0;
  const wantedPages = Math.ceil((wishes.maxWrite ?? 1 << 20) / PAGE);
  const maxPages = Math.max(1, Math.min(wantedPages, hasMaxPages ? MAX_PAGES : DEFAULT_PAGES));
  const maxWrite = maxPages * PAGE;
  const maxBackground = wishes.maxBackground ?? 64;
  const reply = initOut({
    minor,
    max_readahead: Math.min(init.max_readahead, wishes.maxReadahead ?? init.max_readahead),
    flags,
    max_background: maxBackground,
    congestion_threshold: wishes.congestionThreshold ?? Math.max(1, Math.floor((maxBackground * 3) / 4)),
    max_write: maxWrite,
    time_gran: wishes.timeGran ?? 1,
    max_pages: hasMaxPages ? maxPages : 0,
    flags2,
    max_stack_depth: (flags2 & INIT2.PASSTHROUGH) !== 0 ? (wishes.maxStackDepth ?? 0) : 0,
    request_timeout: (flags2 & INIT2.REQUEST_TIMEOUT) !== 0 ? (wishes.requestTimeout ?? 0) : 0,
  });
  const negotiated: Negotiated = {
    minor,
    setxattrExt: (flags & INIT.SETXATTR_EXT) !== 0,
    extensions: (flags2 & (INIT2.SECURITY_CTX | INIT2.CREATE_SUPP_GROUP)) !== 0,
    nameMax: wishes.nameMax ?? 255,
    flags,
    flags2,
    maxWrite,
    maxPages,
    mayRefuseOpen: noOpen,
    mapped: (flags2 & INIT2.ALLOW_IDMAP) !== 0,
    mayRefuseOpendir: wishes.noOpendir === true && (init.flags & INIT.NO_OPENDIR_SUPPORT) !== 0,
  };
  return { kind: 'ready', reply, negotiated };
}

function initOut(some: Partial<InitOut>): InitOut {
  return {
    major: FUSE_KERNEL_VERSION,
    minor: NEWEST_MINOR,
    max_readahead: 0,
    flags: 0,
    max_background: 0,
    congestion_threshold: 0,
    max_write: PAGE,
    time_gran: 1,
    max_pages: 0,
    map_alignment: 0,
    flags2: 0,
    max_stack_depth: 0,
    request_timeout: 0,
    ...some,
  };
}
