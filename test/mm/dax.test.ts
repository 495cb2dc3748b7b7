/** Mappings of a memory device itself: frames without pages, huge ones, and access for debuggers. */

import t from 'tap';
import { submit_bio_wait } from '../../src/block/bio.js';
import { type BlockDevice, blkdev_get } from '../../src/block/block-device.js';
import { memoryDevice, type SparseMemory } from '../../src/block/memory-device.js';
import { dax_mmap } from '../../src/mm/dax.js';
import { filemap_fault } from '../../src/mm/filemap-fault.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { access_process_vm } from '../../src/mm/gup.js';
import { do_munmap, exit_mmap } from '../../src/mm/mmap.js';
import { PMD_PAGES } from '../../src/mm/page-table.js';
import {
  VM_FAULT_FALLBACK,
  VM_FAULT_LOCKED,
  VM_FAULT_NOPAGE,
  VM_FAULT_SIGBUS,
  type VmFault,
} from '../../src/mm/vma.js';
import type { Task } from '../../src/sched/task.js';
import { MAP_PRIVATE } from '../../src/uapi/mman.js';
import { FakeFile, World } from './fake-file.js';
import { failureOf, Process, TestVmFile } from './process.js';

const P = PAGE_SIZE;
const HUGE = PMD_PAGES * P;

function device(world: World, bytes = 4 * HUGE): { bdev: BlockDevice; memory: SparseMemory } {
  const bdev = memoryDevice(bytes, world.sched, world.validator);
  return { bdev, memory: bdev.queue.driver as SparseMemory };
}

function map(world: World, bdev: BlockDevice, extra = {}): TestVmFile {
  const file = new FakeFile(world);
  return new TestVmFile(file, undefined, (vma) => {
    dax_mmap(vma, bdev);
    vma.vm_ops = { ...vma.vm_ops, ...extra };
  });
}

async function read(world: World, bdev: BlockDevice, page: number): Promise<Buffer> {
  const bytes = Buffer.alloc(P);
  await submit_bio_wait(world.task(), bdev, { op: 'read', sector: page * 8, vecs: [bytes], length: P });
  return bytes;
}

t.test('a store is on the device at once, through one huge entry', async (t) => {
  const world = new World();
  const { bdev, memory } = device(world);
  await blkdev_get(world.task(), bdev, 'write');
  const process = new Process(world);
  const at = await process.mmap(map(world, bdev), 4 * HUGE);
  t.equal(at % HUGE, 0, 'aligned for huge entries');
  await process.store(at + HUGE + 5 * P, 'straight');
  t.equal((await read(world, bdev, PMD_PAGES + 5)).toString('latin1', 0, 8), 'straight');
  t.ok(process.mm.pgd.pmd((at + HUGE) / P)?.dirty, 'one entry for 2 MiB');
  t.equal(memory.storedBytes, HUGE);
  const bytes = Buffer.alloc(P, 'bio');
  await submit_bio_wait(world.task(), bdev, { op: 'write', sector: PMD_PAGES * 8, vecs: [bytes], length: P });
  t.equal((await process.load(at + HUGE, 3)).toString(), 'bio', 'what others write is seen');
  await submit_bio_wait(world.task(), bdev, { op: 'discard', sector: 0, vecs: [], length: 2 * HUGE });
  t.equal((await process.load(at + HUGE, 3)).readUInt8(0), 0, 'a discard zeroes what is mapped');
  await process.store(at + HUGE, 'after');
  t.equal((await read(world, bdev, PMD_PAGES)).toString('latin1', 0, 5), 'after', 'and it is still the device');
  await do_munmap(process.task, process.mm, at + HUGE + P, P);
  t.equal(process.mm.pgd.pmd((at + HUGE) / P), undefined, 'a huge entry that is cut goes');
  t.equal((await process.load(at + HUGE, 5)).toString(), 'after', 'small ones come instead');
  t.equal(await failureOf(process.load(at + HUGE + P, 1)), 'SIGSEGV');
  await exit_mmap(process.task, process.mm);
  t.same(world.messages(), []);
});

t.test('where blocks do not lie together, small entries', async (t) => {
  const world = new World();
  const { bdev } = device(world);
  for (const page of [7, 3, 9]) {
    const bytes = Buffer.alloc(P, `${page}`);
    await submit_bio_wait(world.task(), bdev, { op: 'write', sector: page * 8, vecs: [bytes], length: P });
  }
  const process = new Process(world);
  const at = await process.mmap(map(world, bdev), HUGE);
  t.equal((await process.load(at + 7 * P, 1)).toString(), '7');
  t.equal(process.mm.pgd.pmd(at / P), undefined);
  t.equal(process.mm.pgd.pte(at / P + 7)?.write, false, 'read-only at first');
  await process.store(at + 7 * P, 'x');
  t.equal((await read(world, bdev, 7)).toString('latin1', 0, 2), 'x7');
  const copy = await process.mmap(map(world, bdev), HUGE, MAP_PRIVATE);
  await process.store(copy + 7 * P, 'mine');
  t.equal((await read(world, bdev, 7)).toString('latin1', 0, 2), 'x7', 'a private store leaves the device alone');
  const beyond = await process.mmap(map(world, bdev), 5 * HUGE);
  t.equal(await failureOf(process.load(beyond + 4 * HUGE, 1)), 'SIGBUS');
  t.same(world.messages(), []);
});

t.test('pfn_mkwrite may refuse, huge_fault may fall back', async (t) => {
  const world = new World();
  const { bdev } = device(world);
  const calls: string[] = [];
  const process = new Process(world);
  let answer = VM_FAULT_SIGBUS;
  const at = await process.mmap(
    map(world, bdev, {
      huge_fault: (_task: unknown, _vmf: unknown, order: number) => {
        calls.push(`huge ${order}`);
        return VM_FAULT_FALLBACK;
      },
      pfn_mkwrite: () => {
        calls.push('pfn_mkwrite');
        return answer;
      },
    }),
    HUGE,
  );
  t.equal(await failureOf(process.store(at, 'x')), 'SIGBUS');
  t.same(calls, ['huge 9', 'pfn_mkwrite'], 'the frame is mapped read-only, then to be written');
  answer = VM_FAULT_NOPAGE;
  await process.store(at, 'x');
  await process.store(at + 1, 'y');
  t.equal(calls.filter((call) => call === 'pfn_mkwrite').length, 2, 'once more, then it is writable');
  t.same(world.messages(), []);
});

t.test('pfn_mkwrite that answers as page_mkwrite does, and huge_fault that leaves it to filemap_fault', async (t) => {
  const world = new World();
  const { bdev } = device(world);
  const process = new Process(world);
  const at = await process.mmap(
    map(world, bdev, {
      huge_fault: async (task: Task, vmf: VmFault) => {
        await filemap_fault(task, vmf);
        return VM_FAULT_FALLBACK;
      },
      pfn_mkwrite: () => VM_FAULT_NOPAGE | VM_FAULT_LOCKED,
    }),
    HUGE,
  );
  await process.store(at, 'x');
  t.same(
    world.violations.splice(0).map(({ rule }) => rule),
    [
      'vm_operations_struct.huge_fault#not-through-filemap_fault',
      'vm_operations_struct.pfn_mkwrite#answers-NOPAGE-or-error',
    ],
  );
});

t.test('access_process_vm reaches frames through access, and pages without it', async (t) => {
  const world = new World();
  const { bdev } = device(world);
  const target = new Process(world);
  const debuggerTask = world.task('gdb');
  const frames = await target.mmap(map(world, bdev), 2 * P);
  const poke = Buffer.from('poked');
  t.equal(await access_process_vm(debuggerTask, target.mm, frames + P - 2, poke, true), 5, 'across two pages');
  t.equal((await read(world, bdev, 0)).toString('latin1', P - 2), 'po');
  t.equal((await target.load(frames + P - 2, 5)).toString(), 'poked');
  const file = new FakeFile(world);
  await file.write(world.task(), 0, Buffer.alloc(P, 'f'));
  const pages = await target.mmap(new TestVmFile(file), 2 * P);
  const peek = Buffer.alloc(8);
  t.equal(await access_process_vm(debuggerTask, target.mm, pages + P - 4, peek, false), 4, 'up to what cannot be had');
  t.equal(peek.toString('latin1', 0, 4), 'ffff');
  t.equal(await access_process_vm(debuggerTask, target.mm, 4096 * 99, peek, false), 0);
  t.same(world.messages(), []);
});
