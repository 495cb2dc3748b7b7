/** The options of a mount that are the kernel's own flags: nosuid, noatime and their like. */

/** The kernel's own flags among the options, and their opposites: of each pair the last one counts. */
const FLAG_WORDS = {
  suid: ['suid', true],
  nosuid: ['suid', false],
  dev: ['dev', true],
  nodev: ['dev', false],
  exec: ['noexec', false],
  noexec: ['noexec', true],
  symfollow: ['nosymfollow', false],
  nosymfollow: ['nosymfollow', true],
  atime: ['noatime', false],
  noatime: ['noatime', true],
  diratime: ['nodiratime', false],
  nodiratime: ['nodiratime', true],
  strictatime: ['strictatime', true],
  nostrictatime: ['strictatime', false],
  async: ['sync', false],
  sync: ['sync', true],
  dirsync: ['dirsync', true],
} as const satisfies Record<string, readonly [keyof KernelFlags, boolean]>;

/** All of these words. */
export const FLAG_NAMES: readonly string[] = Object.keys(FLAG_WORDS);

export interface KernelFlags {
  suid: boolean;
  dev: boolean;
  noexec: boolean;
  nosymfollow: boolean;
  noatime: boolean;
  nodiratime: boolean;
  strictatime: boolean;
  sync: boolean;
  dirsync: boolean;
}

/** Whether an option is one of the kernel's own flags, or the opposite of one. */
export function isFlagWord(name: string): name is keyof typeof FLAG_WORDS {
  return Object.hasOwn(FLAG_WORDS, name);
}

/** What the words of the mount's options ask of the kernel. Without a word for it, what is mounted is not trusted. */
export function kernelFlags(words: readonly string[]): KernelFlags {
  const flags: KernelFlags = {
    suid: false,
    dev: false,
    noexec: false,
    nosymfollow: false,
    noatime: false,
    nodiratime: false,
    strictatime: false,
    sync: false,
    dirsync: false,
  };
  for (const word of words) {
    if (!isFlagWord(word)) continue;
    const [flag, value] = FLAG_WORDS[word];
    flags[flag] = value;
  }
  return flags;
}
