/** Options that mean nothing for what is to be mounted: what contradicts it is refused, as ext4 refuses what it does not know, and what does no harm gets a line. */
import { statSync } from 'node:fs';
import { CliError } from './error.js';
import { isLatch } from './filesystem.js';
import type { MountSettings } from './mount-options.js';
import { isMemory, parseSize } from './size.js';

/** Bytes of an image file; undefined where it is none, or cannot be seen: whoever opens it will say so. */
function sizeOf(image: string): number | undefined {
  const stat = statSync(image, { throwIfNoEntry: false });
  return stat?.isFile() === true ? stat.size : undefined;
}

function checkImage(source: string, { size, uid, gid }: MountSettings): void {
  if (size !== undefined && size !== sizeOf(source))
    throw new CliError(`option size: ${source} is as large as it is; only a memory filesystem is made at its mount`, 2);
  for (const [name, value] of Object.entries({ uid, gid }))
    if (value !== undefined)
      throw new CliError(
        `option ${name}: the root of ${source} belongs to somebody already (chown changes that); only a memory filesystem is made at its mount`,
        2,
      );
}

/** What only latch knows how to do. */
function checkOther({ type, uid, gid, quota, autoDaAlloc }: MountSettings): void {
  const asked = {
    uid: uid !== undefined,
    gid: gid !== undefined,
    'usrquota, grpquota, prjquota': quota.length > 0,
    noauto_da_alloc: !autoDaAlloc,
  };
  for (const [name, is] of Object.entries(asked))
    if (is) throw new CliError(`option ${name}: latch knows it, and ${type} is another filesystem`, 2);
}

/**
 * Look at the options of a mount and its source together. @param given the option lists, for what the defaults hide
 * @returns lines for who mounts, of what has no effect @throws CliError (status 2) for what cannot be
 */
export function checkSettings(source: string, settings: MountSettings, given: readonly string[]): string[] {
  if (!isLatch(settings)) checkOther(settings);
  else if (!isMemory(source)) checkImage(source, settings);
  if (isMemory(source) && settings.size !== undefined) {
    const said = source.slice('memory:'.length);
    if (said !== '' && parseSize(said, `source ${source}`) !== settings.size)
      throw new CliError(`option size: ${source} says another size`, 2);
  }
  if (settings.idmap && !settings.defaultPermissions)
    throw new CliError(
      'option idmap: the kernel maps identities only where it checks permissions; leave out no_default_permissions',
      2,
    );
  const lines: string[] = [];
  const asked = (name: string): boolean => given.some((list) => list.split(',').some((each) => each.startsWith(name)));
  if (settings.transport === 'fuse-native' && asked('cache='))
    lines.push('option cache: it has no effect with transport=fuse-native, where libfuse decides');
  if (settings.transport === 'fuse-native' && settings.idmap)
    lines.push('option idmap: it has no effect with transport=fuse-native, which cannot ask the kernel for it');
  return lines;
}
