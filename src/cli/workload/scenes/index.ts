/** A fixed workload: short scenes through system calls, two processes at a time, whose results can be compared. */

import { COLD } from './cold.js';
import { CONTROL } from './control.js';
import { DATA } from './data.js';
import { DESCRIPTORS } from './descriptors.js';
import { DIRECT } from './direct.js';
import { DISKS } from './disks.js';
import { INODES } from './inodes.js';
import { LIBERTIES } from './liberties.js';
import { DEVICES } from './liberties-devices.js';
import { LOCKS } from './locks.js';
import { MEANWHILE } from './meanwhile.js';
import { MEMORY } from './memory.js';
import { NAMES } from './names.js';
import { ORDERS } from './order.js';
import { PAGES } from './pages.js';
import { QUOTAS } from './quota.js';
import { RIVALS } from './rivals.js';
import type { Scene } from './scene.js';
import { SLOW } from './slow.js';
import { STOPS } from './stops.js';
import { SUPERBLOCK } from './superblock.js';

export type { Scene };

export const SCENES: readonly Scene[] = [
  ...NAMES,
  ...DATA,
  ...MEMORY,
  ...DISKS,
  ...DESCRIPTORS,
  ...INODES,
  ...CONTROL,
  ...LOCKS,
  ...QUOTAS,
  ...SUPERBLOCK,
  ...STOPS,
  ...COLD,
  ...ORDERS,
  ...LIBERTIES,
  ...DEVICES,
  ...RIVALS,
  ...SLOW,
  ...PAGES,
  ...MEANWHILE,
  ...DIRECT,
];
