/** Telling processes that an open file can be read or written (fs/fcntl.c, fasync_helper and kill_fasync). */
import { FASYNC } from '../uapi/fcntl.js';
import type { File } from './file.js';

/** Who is told of a file's events: a process, which gets a signal (struct fown_struct). */
export interface FileOwner {
  signal(name: string): void;
}

const owners = new WeakMap<File, FileOwner>();

/** F_SETOWN (f_setown). */
export function f_setown(file: File, owner: FileOwner | undefined): void {
  if (owner === undefined) owners.delete(file);
  else owners.set(file, owner);
}

/** F_GETOWN (f_getown). */
export function f_getown(file: File): FileOwner | undefined {
  return owners.get(file);
}

/** The open files that want to hear of one thing (struct fasync_struct). */
export type FasyncList = Map<File, number>;

/** Nobody to tell yet. */
export function newFasyncList(): FasyncList {
  return new Map();
}

/** ->fasync of nearly everybody: enter the file or take it out, and keep its FASYNC flag in step. */
export function fasync_helper(fd: number, file: File, on: boolean, list: FasyncList): void {
  if (on) {
    list.set(file, fd);
    file.f_flags |= FASYNC;
  } else {
    list.delete(file);
    file.f_flags &= ~FASYNC;
  }
}

/** Something happened: the owners get SIGIO (kill_fasync). */
export function kill_fasync(list: FasyncList): void {
  for (const file of list.keys()) owners.get(file)?.signal('SIGIO');
}
