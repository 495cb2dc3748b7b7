/** What `latchfs mount --help` says of the options. */

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
  ['type=NAME', 'the filesystem, as --type says'],
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
  ['noexport', 'without handles of files, so without NFS: for overlays whose lower directory is on the mount'],
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
