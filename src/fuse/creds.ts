/** Who calls: a request carries uid, gid and pid; what else a check depends on is asked of /proc only then. */
import { readFileSync } from 'node:fs';
import { type Cred, ROOT_CRED, userCred } from '../sched/task.js';
import { FUSE_INVALID_UIDGID } from './protocol/flags.js';

/** What the kernel calls those who have no id here (overflowuid). */
const NOBODY = 65534;

/** What /proc says of a thread; empty where it has gone or cannot be seen. */
function statusOf(pid: number): string {
  if (pid === 0) return '';
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return '';
  }
}

/** The supplementary groups. */
function groupsIn(status: string): readonly number[] {
  const match = /^Groups:\s*(.*)$/m.exec(status);
  return (match?.[1] ?? '').split(/\s+/).filter(Boolean).map(Number);
}

/** The id by which files are reached: the last of four, after the real, the effective and the saved one. */
function fsIdIn(status: string, name: 'Uid' | 'Gid'): number {
  const match = new RegExp(`^${name}:(?:\\s+\\d+){3}\\s+(\\d+)$`, 'm').exec(status);
  return match === null ? NOBODY : Number(match[1]);
}

/** A caller of a mount with ALLOW_IDMAP. What the request leaves out is read when it is first asked for. */
class MappedCred implements Cred {
  readonly #uid: number;
  readonly #gid: number;
  readonly #pid: number;
  #status: string | undefined;

  constructor(uid: number, gid: number, pid: number) {
    this.#uid = uid;
    this.#gid = gid;
    this.#pid = pid;
  }

  get #known(): string {
    this.#status ??= statusOf(this.#pid);
    return this.#status;
  }

  get uid(): number {
    return this.#uid === FUSE_INVALID_UIDGID ? fsIdIn(this.#known, 'Uid') : this.#uid;
  }

  get gid(): number {
    return this.#gid === FUSE_INVALID_UIDGID ? fsIdIn(this.#known, 'Gid') : this.#gid;
  }

  groups(): readonly number[] {
    return groupsIn(this.#known);
  }

  /** Whoever has become root by a mapping alone has no power over the filesystem, and root keeps it whoever its files belong to. */
  capable(): boolean {
    return fsIdIn(this.#known, 'Uid') === 0;
  }
}

/** The numbers in a request's header that say who makes it. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  /** 0 where it is outside of this process's namespace */
  readonly pid: number;
}

/**
 * Who makes a request. Supplementary groups are read from /proc when they are first asked for.
 * @param mapped identities may be mapped (ALLOW_IDMAP): the kernel then says for whom something is made, as mapped, and of no other caller who it is, because it
 * has checked what that one may do. What is left to us (quotas, ioctls of the administrator) goes by the caller's own identity, unmapped
 */
export function callerOf({ uid, gid, pid }: Caller, mapped: boolean): Cred {
  if (mapped) return new MappedCred(uid, gid, pid);
  if (uid === 0 && gid === 0) return ROOT_CRED;
  let known: readonly number[] | undefined;
  return userCred(uid, gid, () => {
    known ??= groupsIn(statusOf(pid));
    return known;
  });
}

/** The same caller, known to own the file that a request is about, or to stand above owners. */
export function asOwner(cred: Cred): Cred {
  const { uid, gid } = cred;
  return { uid, gid, groups: () => cred.groups(), capable: (what) => what === 'CAP_FOWNER' || cred.capable(what) };
}
