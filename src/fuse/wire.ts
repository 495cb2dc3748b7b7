// Everything of the wire package that a filesystem built on it uses: mount, negotiate, serve, decode requests, encode replies. It knows
// nothing of any particular filesystem.

export { FuseDevice } from './device.js';
export { Gather } from './gather.js';
export { type InitAnswer, type InitWishes, type Negotiated, negotiate } from './init.js';
export { type Handler, type LoopHooks, ServeLoop, type StopReason } from './loop.js';
export { type Mounted, mountFuse, unmountFuse } from './mount.js';
export { MountError, type MountOptions } from './mount-options.js';
export {
  abortConnection,
  connectionOf,
  type Health,
  health,
  isFuse,
  type MountInfo,
  mountAt,
  mounts,
} from './mountinfo.js';
export { DirentPacker } from './protocol/dirents.js';
export * from './protocol/flags.js';
export { IN_HEADER, Message, OUT_HEADER, type ProtocolErrno, ProtocolError, type U64 } from './protocol/message.js';
export * from './protocol/notify.js';
export { isOneWay, Opcode, type OpcodeName, type OpcodeNumber, opcodeName } from './protocol/opcodes.js';
export { Out } from './protocol/out.js';
export { decodeHeader, peekOpcode } from './protocol/read.js';
export * from './protocol/read-files.js';
export * from './protocol/read-names.js';
export * from './protocol/requests.js';
export * from './protocol/write.js';
export { Receive, type Replies, type Transport } from './transport.js';
