// A loop device that stands for an image, so that the kernel can mount it as it mounts a disk (drivers/block/loop.c).

import { closeSync, constants as fsConstants, openSync } from 'node:fs';
import { LO_FLAGS_AUTOCLEAR, LO_FLAGS_READ_ONLY, LOOP_CONFIGURE, LOOP_CTL_GET_FREE } from '../uapi/ioctl.js';
import { addressOf, errno, ioctl } from './libc.js';

const EBUSY = 16;
/** struct loop_config: descriptor, block size, struct loop_info64, and what is reserved. */
const CONFIG_BYTES = 304;
const BLOCK_SIZE_AT = 4;
const FLAGS_AT = 8 + 52;
const NAME_AT = 8 + 56;
/** Bytes of lo_file_name, with the NUL. */
const NAME_BYTES = 64;
/** How often somebody else may be faster at taking the free device. */
const TRIES = 16;

export interface LoopDevice {
  /** /dev/loopN */
  readonly path: string;
  /** Let go of it: the device lives on as long as it is mounted, and frees itself then. */
  close(): void;
}

/**
 * Attach a free loop device to an image. It frees itself with its last user, also where that one is killed.
 * @param image the path of a file
 * @param blockSize bytes
 * @returns undefined where it cannot be had: no loop driver, none free, no permission, or the image is no file
 */
export function attachLoop(image: string, readOnly: boolean, blockSize: number): LoopDevice | undefined {
  const mode = readOnly ? fsConstants.O_RDONLY : fsConstants.O_RDWR;
  const opened: number[] = [];
  try {
    const control = openSync('/dev/loop-control', fsConstants.O_RDWR);
    opened.push(control);
    const file = openSync(image, mode);
    opened.push(file);
    for (let i = 0; i < TRIES; i++) {
      const number = ioctl(control, LOOP_CTL_GET_FREE, 0);
      if (number < 0) return undefined;
      const path = `/dev/loop${number}`;
      const device = openSync(path, mode);
      if (ioctl(device, LOOP_CONFIGURE, addressOf(configOf(image, file, readOnly, blockSize))) === 0)
        return { path, close: () => closeSync(device) };
      const failure = errno();
      closeSync(device);
      if (failure !== EBUSY) return undefined;
    }
    return undefined;
  } catch {
    return undefined;
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

function configOf(image: string, file: number, readOnly: boolean, blockSize: number): Buffer {
  const config = Buffer.alloc(CONFIG_BYTES);
  config.writeUInt32LE(file, 0);
  config.writeUInt32LE(blockSize, BLOCK_SIZE_AT);
  config.writeUInt32LE(LO_FLAGS_AUTOCLEAR | (readOnly ? LO_FLAGS_READ_ONLY : 0), FLAGS_AT);
  Buffer.from(image)
    .subarray(0, NAME_BYTES - 1)
    .copy(config, NAME_AT);
  return config;
}
