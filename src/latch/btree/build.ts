/** Making a whole B+tree at once from records that are in order, for fsck. Without a journal: nobody has the filesystem mounted. */
import { crc32 } from 'node:zlib';
import { BLOCK_SIZE } from '../../block/buffer-head.js';
import { BODY_HEAD, emptyRoot, NODE_HEAD, NODE_MAGIC, SLOT } from '../format/tree.js';
import { innerRecord, Node, type TreeFormat } from './node.js';

export interface BuildHost {
  readonly ino: number;
  /** What the checksums of its nodes begin with. */
  readonly seed: number;
  /** Bytes of a body in a block. */
  readonly bodyBytes: number;
  /** Take a block for a node. @throws ENOSPC */
  allocate(): number;
  write(block: number, bytes: Buffer): void;
}

/** A record, with its key in it. */
export interface KeyedRecord {
  readonly key: number;
  readonly bytes: Buffer;
}

/**
 * Make a tree.
 * @param records in the order of their keys, which are unique
 * @param rootBytes how large its root is
 * @returns the root, and how many blocks the tree takes beside it
 * @throws ENOSPC
 */
export function buildTree(
  host: BuildHost,
  format: TreeFormat,
  records: readonly KeyedRecord[],
  rootBytes: number,
): { readonly root: Buffer; readonly nodes: number } {
  let level = 0;
  let nodes = 0;
  let rest = records;
  while (!fits(rest, rootBytes)) {
    rest = buildLevel(host, format, rest, level);
    nodes += rest.length;
    level++;
  }
  const root = Buffer.alloc(rootBytes);
  emptyRoot(root, format.kind);
  const node = new Node(format, root, 0, rootBytes);
  node.init(level);
  for (const { bytes } of rest) node.insert(node.count, bytes, 0, bytes.length);
  return { root, nodes };
}

function fits(records: readonly KeyedRecord[], bodyBytes: number): boolean {
  let bytes = BODY_HEAD;
  for (const record of records) {
    bytes += record.bytes.length + SLOT;
    if (bytes > bodyBytes) return false;
  }
  return true;
}

/** Put the records into nodes, full ones. @returns the records by which the level above knows them */
function buildLevel(
  host: BuildHost,
  format: TreeFormat,
  records: readonly KeyedRecord[],
  level: number,
): KeyedRecord[] {
  const above: KeyedRecord[] = [];
  for (let i = 0; i < records.length; ) {
    const block = host.allocate();
    const data = Buffer.alloc(BLOCK_SIZE);
    data.writeUInt32LE(NODE_MAGIC, 4);
    data.writeUIntLE(host.ino, 8, 6);
    data.writeUInt32LE(block, 16);
    const node = new Node(format, data, NODE_HEAD, host.bodyBytes);
    node.init(level);
    // The first node of a level is known by 0, as it has what lies below the first key as well.
    const key = i === 0 ? 0 : (records[i]?.key ?? 0);
    for (
      let record = records[i];
      record !== undefined && node.room >= record.bytes.length + SLOT;
      record = records[i]
    ) {
      node.insert(node.count, record.bytes, 0, record.bytes.length);
      i++;
    }
    data.writeUInt32LE(crc32(data.subarray(4), host.seed), 0);
    host.write(block, data);
    above.push({ key, bytes: innerRecord(format, key, block) });
  }
  return above;
}
