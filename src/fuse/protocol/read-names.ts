// Decoders of the requests that carry names: lookups, creations, removals, renames, extended attributes.

import { XATTR_NAME_MAX, XATTR_SIZE_MAX } from '../../uapi/xattr.js';
import { IN_HEADER, id64, type Message, need, ProtocolError, u32 } from './message.js';
import { bodyEnd, componentName, createExtensions, NameRule, text } from './read.js';
import type {
  CreateIn,
  GetxattrIn,
  LinkIn,
  MkdirIn,
  MknodIn,
  NameIn,
  RenameIn,
  SetxattrIn,
  SymlinkIn,
  Wire,
} from './requests.js';

/** PATH_MAX without its NUL. */
const TARGET_MAX = 4095;
const { COMPONENT, LOOKUP } = NameRule;

/** LOOKUP: the name alone, without an object around it. */
export function decodeLookup(m: Message, wire: Wire): string {
  return componentName(m, IN_HEADER, m.length, wire.nameMax, LOOKUP);
}

/** UNLINK and RMDIR. */
export function decodeName(m: Message, wire: Wire): NameIn {
  return { name: componentName(m, IN_HEADER, m.length, wire.nameMax, COMPONENT) };
}

/** SYMLINK: the name, then what it points to. */
export function decodeSymlink(m: Message, wire: Wire): SymlinkIn {
  const end = bodyEnd(m);
  const name = componentName(m, IN_HEADER, end, wire.nameMax, COMPONENT);
  const at = IN_HEADER + name.length + 1;
  const target = text(m, at, end, TARGET_MAX, 'ENAMETOOLONG');
  const { secctx, groups } = createExtensions(m, at + target.length + 1);
  return { name, target, secctx, groups };
}

/** MKNOD. */
export function decodeMknod(m: Message, wire: Wire): MknodIn {
  need(m, 16);
  const name = componentName(m, IN_HEADER + 16, bodyEnd(m), wire.nameMax, COMPONENT);
  const { secctx, groups } = createExtensions(m, IN_HEADER + 16 + name.length + 1);
  return { name, mode: u32(m, 40), rdev: u32(m, 44), umask: u32(m, 48), secctx, groups };
}

/** MKDIR. */
export function decodeMkdir(m: Message, wire: Wire): MkdirIn {
  need(m, 8);
  const name = componentName(m, IN_HEADER + 8, bodyEnd(m), wire.nameMax, COMPONENT);
  const { secctx, groups } = createExtensions(m, IN_HEADER + 8 + name.length + 1);
  return { name, mode: u32(m, 40), umask: u32(m, 44), secctx, groups };
}

/** CREATE. */
export function decodeCreate(m: Message, wire: Wire): CreateIn {
  need(m, 16);
  const name = componentName(m, IN_HEADER + 16, bodyEnd(m), wire.nameMax, COMPONENT);
  return createIn(m, name, IN_HEADER + 16 + name.length + 1);
}

/** TMPFILE: a CREATE whose name means nothing (the kernel sends the "/" of a nameless dentry), so that it reads ''. */
export function decodeTmpfile(m: Message, wire: Wire): CreateIn {
  need(m, 16);
  const name = text(m, IN_HEADER + 16, bodyEnd(m), wire.nameMax, 'ENAMETOOLONG');
  return createIn(m, '', IN_HEADER + 16 + name.length + 1);
}

function createIn(m: Message, name: string, after: number): CreateIn {
  const { secctx, groups } = createExtensions(m, after);
  return {
    name,
    flags: u32(m, 40),
    mode: u32(m, 44),
    umask: u32(m, 48),
    open_flags: u32(m, 52),
    secctx,
    groups,
  };
}

/** RENAME: struct fuse_rename_in and two names. */
export function decodeRename(m: Message, wire: Wire): RenameIn {
  need(m, 8);
  return renameIn(m, wire, IN_HEADER + 8, 0);
}

/** RENAME2: struct fuse_rename2_in and two names. */
export function decodeRename2(m: Message, wire: Wire): RenameIn {
  need(m, 16);
  return renameIn(m, wire, IN_HEADER + 16, u32(m, 48));
}

function renameIn(m: Message, wire: Wire, at: number, flags: number): RenameIn {
  const end = m.length;
  const name = componentName(m, at, end, wire.nameMax, COMPONENT);
  const newname = componentName(m, at + name.length + 1, end, wire.nameMax, COMPONENT);
  return { name, newdir: id64(m, 40), newname, flags };
}

/** LINK: the new name of an inode. */
export function decodeLink(m: Message, wire: Wire): LinkIn {
  need(m, 8);
  const name = componentName(m, IN_HEADER + 8, m.length, wire.nameMax, COMPONENT);
  return { oldnodeid: id64(m, 40), name };
}

/** The name of an extended attribute. @throws ProtocolError ERANGE when empty or over 255 bytes, as the kernel's own check */
function attributeName(m: Message, at: number): string {
  const name = text(m, at, m.length, XATTR_NAME_MAX, 'ERANGE');
  if (name.length === 0) throw new ProtocolError('ERANGE', 'empty attribute name');
  return name;
}

/** SETXATTR, with the value. */
export function decodeSetxattr(m: Message, wire: Wire): SetxattrIn {
  const fixed = wire.setxattrExt ? 16 : 8;
  need(m, fixed);
  const size = u32(m, 40);
  if (size > XATTR_SIZE_MAX) throw new ProtocolError('EINVAL', `attribute of ${size} bytes`);
  const name = attributeName(m, IN_HEADER + fixed);
  const start = IN_HEADER + fixed + name.length + 1;
  if (size > m.length - start) throw new ProtocolError('EINVAL', `attribute of ${size} bytes in ${m.length - start}`);
  return {
    name,
    value: Buffer.from(m.bytes.subarray(start, start + size)),
    flags: u32(m, 44),
    setxattr_flags: wire.setxattrExt ? u32(m, 48) : 0,
  };
}

/** GETXATTR. */
export function decodeGetxattr(m: Message): GetxattrIn {
  need(m, 8);
  return { name: attributeName(m, IN_HEADER + 8), size: u32(m, 40) };
}

/** LISTXATTR. */
export function decodeListxattr(m: Message): GetxattrIn {
  need(m, 8);
  return { name: '', size: u32(m, 40) };
}

/** REMOVEXATTR. */
export function decodeRemovexattr(m: Message): NameIn {
  return { name: attributeName(m, IN_HEADER) };
}
