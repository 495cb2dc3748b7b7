/** Checking the quota files: that they are files, and that they say what the inodes say. What a repair changes, the next mount counts anew. */

import { quotasIn } from '../../fs/quota/quota-v2.js';
import { type MemDqblk, QUOTA_TYPES, type QuotaType } from '../../fs/quota/types.js';
import { errno } from '../../sched/errno.js';
import { S_IFREG } from '../../uapi/stat.js';
import { BLOCK_SIZE } from '../format/layout.js';
import { COMPAT_QUOTA, COMPAT_RECOUNT } from '../format/superblock.js';
import { UsageCount } from '../quota-usage.js';
import type { FsckContext } from './context.js';
import { type Seen, typeOf } from './seen.js';
import { readExtents } from './shared.js';

const QUOTA_MODE = S_IFREG | 0o600;
/** Larger ones are not read: they would hold the quotas of some millions. */
const MAX_BYTES = 2 ** 30;

function nameOf(type: QuotaType): string {
  return ['user', 'group', 'project'][type] ?? '';
}

/** The superblock is the one name of a quota file. */
export function nameQuotaFiles(context: FsckContext): void {
  const { compat, quotaInodes } = context.super;
  if ((compat & COMPAT_QUOTA) === 0 || quotaInodes.every((ino) => ino === 0)) return;
  const types = QUOTA_TYPES.filter((type) => quotaInodes[type] !== 0);
  const files = QUOTA_TYPES.map((type) => context.inodes.get(quotaInodes[type]));
  for (const type of types) {
    const seen = files[type];
    if (seen !== undefined && typeOf(seen.disk) === S_IFREG) seen.names++;
    else
      context.problem(
        'superblock',
        `the quota file of ${nameOf(type)}s is inode ${quotaInodes[type]}, which is no file`,
      );
  }
  const isFile = (seen: Seen | undefined): boolean => seen !== undefined && typeOf(seen.disk) === S_IFREG;
  if (!types.every((type) => isFile(files[type]))) dropQuotaFiles(context);
}

/**
 * Find the quota files by what is in them, because the superblock was taken from its copy, which knows of none: files of root's without a name. They are taken if all
 * are there.
 */
export async function findQuotaFiles(context: FsckContext): Promise<void> {
  const disk = context.super;
  const found: [number, number, number] = [0, 0, 0];
  for (const seen of context.inodes.values()) {
    const { mode, uid, nlink, size } = seen.disk;
    if (mode !== QUOTA_MODE || uid !== 0 || nlink !== 1 || seen.names > 0 || size === 0 || size > MAX_BYTES) continue;
    const bytes = await contentOf(context, seen);
    for (const type of QUOTA_TYPES) {
      const quotas = await quotasIn(context.task, type, bytes).catch(() => undefined);
      if (quotas !== undefined) found[type] = seen.ino;
    }
  }
  if (found.includes(0)) return;
  disk.compat |= COMPAT_QUOTA | COMPAT_RECOUNT;
  for (const type of QUOTA_TYPES) disk.quotaInodes[type] = found[type];
}

/** All are made anew by the next mount; what is left of them the next look finds without a name. */
function dropQuotaFiles(context: FsckContext): void {
  const { quotaInodes } = context.super;
  for (const type of QUOTA_TYPES) {
    const seen = context.inodes.get(quotaInodes[type]);
    quotaInodes[type] = 0;
    if (seen === undefined || typeOf(seen.disk) !== S_IFREG || seen.names === 0) continue;
    seen.names--;
    if (seen.names > 0) continue;
    seen.disk = { ...seen.disk, nlink: 0 };
    seen.dirty = true;
  }
}

/** Compare what the quota files say with what the inodes have. Once all inodes are known. */
export async function checkQuotas(context: FsckContext): Promise<void> {
  const { compat, quotaInodes } = context.super;
  if ((compat & COMPAT_QUOTA) === 0 || (compat & COMPAT_RECOUNT) !== 0) return;
  const usage = new UsageCount();
  for (const { ino, disk } of context.inodes.values()) if (!quotaInodes.includes(ino)) usage.add(disk);
  for (const type of QUOTA_TYPES) {
    const seen = context.inodes.get(quotaInodes[type]);
    if (seen === undefined) continue;
    const quotas = await quotasOf(context, type, seen);
    if (quotas === undefined) {
      dropQuotaFiles(context);
      return;
    }
    compare(context, type, quotas, usage);
  }
}

/** @returns undefined where the file is damaged, which is told */
async function quotasOf(
  context: FsckContext,
  type: QuotaType,
  seen: Seen,
): Promise<ReadonlyMap<number, MemDqblk> | undefined> {
  try {
    return await quotasIn(context.task, type, await contentOf(context, seen));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    context.problem(
      `inode ${seen.ino}`,
      `the quota file of ${nameOf(type)}s is damaged, and its limits are lost: ${why}`,
    );
    return undefined;
  }
}

async function contentOf(context: FsckContext, seen: Seen): Promise<Buffer> {
  const { size } = seen.disk;
  if (size > MAX_BYTES) throw errno('EIO', `${size} bytes`);
  const bytes = Buffer.alloc(size);
  const { extents } = seen.extents === undefined ? await readExtents(context, seen) : { extents: seen.extents };
  for (const { logical, physical, length } of extents) {
    for (let i = 0; i < length && (logical + i) * BLOCK_SIZE < size; i++) {
      const block = await context.read(physical + i, `inode ${seen.ino}`);
      block?.copy(bytes, (logical + i) * BLOCK_SIZE);
    }
  }
  return bytes;
}

function compare(
  context: FsckContext,
  type: QuotaType,
  quotas: ReadonlyMap<number, MemDqblk>,
  usage: UsageCount,
): void {
  const counted = usage.of[type] ?? new Map();
  for (const id of [...new Set([...quotas.keys(), ...counted.keys()])].sort((a, b) => a - b)) {
    const { dqb_curspace = 0, dqb_curinodes = 0 } = quotas.get(id) ?? {};
    const { space = 0, inodes = 0 } = counted.get(id) ?? {};
    if (dqb_curspace === space && dqb_curinodes === inodes) continue;
    const says = `${dqb_curspace} bytes and ${dqb_curinodes} inodes`;
    context.problem(`quota of ${nameOf(type)} ${id}`, `says ${says}, ${space} and ${inodes} are right`, 'safe');
  }
}

/** What is repaired changes who has what: it is to be counted anew. */
export function distrustQuotas(context: FsckContext): void {
  const { super: disk } = context;
  if ((disk.compat & COMPAT_QUOTA) !== 0) disk.compat |= COMPAT_RECOUNT;
}
