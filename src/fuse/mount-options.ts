// What a mount is asked for, and the one-line error when it cannot be had.

export interface MountOptions {
  /** the mount's source, as `df` and /proc/mounts show it */
  readonly fsname?: string;
  /** the file that is served: where the kernel can, it is mounted as a disk, and sync(2) reaches the server; its loop device is the source then */
  readonly image?: string;
  /** shown as `fuse.SUBTYPE` */
  readonly subtype?: string;
  /** let users other than the mounter in */
  readonly allowOther?: boolean;
  /** the kernel checks file modes */
  readonly defaultPermissions?: boolean;
  readonly readOnly?: boolean;
  /** bytes of the largest READ; default no limit of its own */
  readonly maxRead?: number;
  /** allow a mount point that has files in it */
  readonly nonempty?: boolean;
  /** honour set-user-id programs and device nodes; only root may ask */
  readonly suid?: boolean;
  readonly dev?: boolean;
  readonly noatime?: boolean;
  readonly nodiratime?: boolean;
  /** of the kernel's flags only shown: the server keeps the times; fusermount3 does not know it */
  readonly strictatime?: boolean;
  readonly noexec?: boolean;
  /** symbolic links are not followed; a fusermount3 that does not know it refuses to mount */
  readonly nosymfollow?: boolean;
  /** every write, or every change of a directory, waits for the device */
  readonly sync?: boolean;
  readonly dirsync?: boolean;
}

/** A mount that cannot be had. `message` is one line that names the thing and the remedy. */
export class MountError extends Error {
  /** an errno name, 'EEXIST' for a mount point already in use, say */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = 'MountError';
    this.code = code;
  }
}

/** The errno name in an exception of Node's, else ''. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
