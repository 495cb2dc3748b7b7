/** Which mount namespaces other than ours still show a mount: a copy there keeps its filesystem alive, and its disk in use, after the unmount here. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A mount in the namespace of another process. */
export interface MountElsewhere {
  readonly pid: string;
  /** The process's name. */
  readonly comm: string;
  readonly mountpoint: string;
}

/** What /proc/PID/mountinfo says of a mount, as far as it is asked for. */
export interface MountShown {
  /** Major and minor number of the filesystem, with a colon between. */
  readonly device: string;
  readonly type: string;
  /** A path in UTF-8, where it is one. */
  readonly source: string;
}

/** Mount tables write spaces and the like in octal. */
export function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_match, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // The process has ended meanwhile, or is another user's.
    return '';
  }
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined;
  }
}

/** The first mount of a table that is wanted. */
function find(mountinfo: string, wanted: (mount: MountShown) => boolean): string | undefined {
  for (const line of mountinfo.split('\n')) {
    const fields = line.split(' ');
    const dash = fields.indexOf('-', 6);
    if (dash < 0) continue;
    const [, , device = '', , target = ''] = fields;
    const [type = '', source = ''] = fields.slice(dash + 1);
    if (wanted({ device, type, source: unescapeOctal(source) })) return unescapeOctal(target);
  }
  return undefined;
}

/**
 * The mounts that `wanted` wants, one for each mount namespace other than this process's, with one process that lives in it. Namespaces of processes that this user
 * may not look at are left out, and so are those that live without a process.
 */
export function mountsElsewhere(wanted: (mount: MountShown) => boolean): MountElsewhere[] {
  const seen = new Set([namespaceOf('self'), undefined]);
  const found: MountElsewhere[] = [];
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const namespace = namespaceOf(pid);
    if (seen.has(namespace)) continue;
    seen.add(namespace);
    const mountpoint = find(text(`/proc/${pid}/mountinfo`), wanted);
    if (mountpoint !== undefined) found.push({ pid, comm: text(`/proc/${pid}/comm`).trimEnd(), mountpoint });
  }
  return found;
}
