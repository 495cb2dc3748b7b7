// The least filesystem that the wire package can serve: a root with one file in it, answered from constants. It is the measure of what
// the transport costs by itself, and the subject of the mount tests.

import { S_IFDIR, S_IFREG } from '../uapi/stat.js';
import { type InitWishes, type Negotiated, negotiate } from './init.js';
import { DirentPacker } from './protocol/dirents.js';
import { DirentType, FOPEN, INIT } from './protocol/flags.js';
import { type Message, ProtocolError } from './protocol/message.js';
import { isOneWay, Opcode } from './protocol/opcodes.js';
import { decodeHeader } from './protocol/read.js';
import { decodeInit, decodeRead, decodeWrite } from './protocol/read-files.js';
import { decodeLookup } from './protocol/read-names.js';
import { DEFAULT_WIRE, type RequestHeader, type Wire } from './protocol/requests.js';
import {
  type Attr,
  type Entry,
  encodeAttr,
  encodeEntry,
  encodeInit,
  encodeOpen,
  encodeStatfs,
  encodeWrite,
} from './protocol/write.js';
import type { Transport } from './transport.js';

const ROOT = 1;
const FILE = 2;
export const BARE_FILE = 'file';
const { ENOENT, ENOSYS, EPROTO } = { ENOENT: 2, ENOSYS: 38, EPROTO: 71 };
/** Seconds. */
const VALID = 1;

export const BARE_WISHES: InitWishes = {
  flags: INIT.ASYNC_READ | INIT.ASYNC_DIO | INIT.PARALLEL_DIROPS | INIT.DO_READDIRPLUS,
  flags2: 0,
};

export class BareFilesystem {
  readonly #transport: Transport;
  readonly #data: Buffer;
  readonly #packer: DirentPacker;
  readonly #root: Attr;
  readonly #file: Attr;
  readonly #entry: Entry;
  #wire: Wire = DEFAULT_WIRE;
  /** Set by INIT. */
  negotiated: Negotiated | undefined;
  /** Set by DESTROY. */
  destroyed = false;

  /** @param data the file's contents, repeated to `size` bytes; writes go to the same place */
  constructor(transport: Transport, data: Buffer, size: number) {
    this.#transport = transport;
    this.#data = data;
    this.#packer = new DirentPacker(transport.out);
    const time = { sec: 1, nsec: 2 };
    const common = { atime: time, mtime: time, ctime: time, uid: 0, gid: 0, rdev: 0, blksize: 4096 };
    this.#root = { ...common, ino: ROOT, size: 4096, blocks: 8, mode: S_IFDIR | 0o755, nlink: 2 };
    this.#file = { ...common, ino: FILE, size, blocks: Math.ceil(size / 512), mode: S_IFREG | 0o666, nlink: 1 };
    this.#entry = { nodeid: FILE, generation: 0, entry_valid: VALID, attr_valid: VALID, attr: this.#file };
  }

  readonly handle = (message: Message): void => {
    let header: RequestHeader | undefined;
    try {
      header = decodeHeader(message);
      this.#dispatch(header, message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      if (header !== undefined && !isOneWay(header.opcode)) this.#transport.replyError(header.unique, error.errno);
    }
  };

  #dispatch({ opcode, unique, nodeid }: RequestHeader, message: Message): void {
    const transport = this.#transport;
    const { out } = transport;
    switch (opcode) {
      case Opcode.READ: {
        const { offset, size } = decodeRead(message);
        this.#gather(offset, Math.min(size, Math.max(0, this.#file.size - offset)));
        transport.replyData(unique, 0);
        break;
      }
      case Opcode.WRITE: {
        const { size, start } = decodeWrite(message);
        message.bytes.copy(this.#data, 0, start, start + size);
        transport.reply(unique, encodeWrite(out, size));
        break;
      }
      case Opcode.LOOKUP:
        if (nodeid === ROOT && decodeLookup(message, this.#wire) === BARE_FILE) {
          transport.reply(unique, encodeEntry(out, this.#entry));
        } else transport.replyError(unique, ENOENT);
        break;
      case Opcode.GETATTR:
      case Opcode.SETATTR:
        transport.reply(unique, encodeAttr(out, VALID, nodeid === ROOT ? this.#root : this.#file));
        break;
      case Opcode.OPEN:
      case Opcode.OPENDIR:
        transport.reply(unique, encodeOpen(out, 0, opcode === Opcode.OPEN ? FOPEN.PARALLEL_DIRECT_WRITES : 0));
        break;
      case Opcode.READDIR:
      case Opcode.READDIRPLUS:
        this.#readdir(message, opcode === Opcode.READDIRPLUS);
        transport.reply(unique, this.#packer.size);
        break;
      case Opcode.STATFS:
        transport.reply(unique, encodeStatfs(out, STATFS));
        break;
      case Opcode.RELEASE:
      case Opcode.RELEASEDIR:
      case Opcode.FLUSH:
      case Opcode.FSYNC:
        transport.reply(unique, 0);
        break;
      case Opcode.DESTROY:
        this.destroyed = true;
        transport.reply(unique, 0);
        break;
      case Opcode.INIT: {
        const answer = negotiate(decodeInit(message), BARE_WISHES);
        if (answer.kind === 'refuse') transport.replyError(unique, EPROTO);
        else {
          if (answer.kind === 'ready') this.#wire = this.negotiated = answer.negotiated;
          transport.reply(unique, encodeInit(out, answer.reply));
        }
        break;
      }
      default:
        if (!isOneWay(opcode)) transport.replyError(unique, ENOSYS);
    }
  }

  #gather(offset: number, size: number): void {
    const data = this.#data;
    let at = offset % data.length;
    for (let left = size; left > 0; at = 0) {
      const length = Math.min(left, data.length - at);
      this.#transport.data.add(data, at, length);
      left -= length;
    }
  }

  #readdir(message: Message, plus: boolean): void {
    const packer = this.#packer;
    const { offset, size } = decodeRead(message);
    packer.begin(size);
    const names = ['.', '..', BARE_FILE];
    for (let i = offset; i < names.length; i++) {
      const isFile = i === 2;
      const ino = isFile ? FILE : ROOT;
      const type = isFile ? DirentType.REG : DirentType.DIR;
      const name = names[i] ?? '';
      const added = plus
        ? packer.addPlus(isFile ? this.#entry : null, ino, i + 1, type, name)
        : packer.add(ino, i + 1, type, name);
      if (!added) break;
    }
  }
}

const STATFS = { blocks: 1000, bfree: 500, bavail: 500, files: 2, ffree: 10, bsize: 4096, namelen: 255, frsize: 4096 };
