/** Mappings of files: the bytes are the file's, faults follow the contract, and stores reach the device. */

import t from 'tap';
import { generic_file_vm_ops } from '../../src/mm/filemap-fault.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { folio_unlock } from '../../src/mm/folio-state.js';
import { dup_mmap } from '../../src/mm/fork.js';
import { copy_from_user, copy_to_user } from '../../src/mm/gup.js';
import { do_munmap, exit_mmap, mmap_region, mprotect } from '../../src/mm/mmap.js';
import { mremap } from '../../src/mm/mremap.js';
import { madvise, msync } from '../../src/mm/msync.js';
import { do_writepages } from '../../src/mm/page-writeback.js';
import { VM_FAULT_LOCKED, VM_FAULT_NOPAGE } from '../../src/mm/vma.js';
import {
  MADV_DONTNEED,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  MAP_SHARED,
  MS_ASYNC,
  MS_SYNC,
  PROT_READ,
  PROT_WRITE,
} from '../../src/uapi/mman.js';
import { FakeFile, hops, World } from './fake-file.js';
import { failureOf, Process, TestVmFile } from './process.js';

const P = PAGE_SIZE;

async function fileOf(world: World, pages: number, fill = 'a'): Promise<FakeFile> {
  const file = new FakeFile(world);
  const task = world.task('writer');
  await file.write(task, 0, Buffer.alloc(pages * P, fill));
  await sync(world, file);
  return file;
}

function sync(world: World, file: FakeFile): Promise<void> {
  return do_writepages(world.task('sync'), file.mapping, {
    sync_mode: 'WBC_SYNC_ALL',
    nr_to_write: Number.POSITIVE_INFINITY,
    range_start: 0,
    range_end: Number.POSITIVE_INFINITY,
    pages_skipped: 0,
  });
}

t.test('a shared mapping is the file, in both directions', async (t) => {
  const world = new World();
  const file = await fileOf(world, 8);
  const one = new Process(world);
  const other = new Process(world);
  const at = await one.mmap(new TestVmFile(file), 8 * P);
  const there = await other.mmap(new TestVmFile(file), 8 * P);
  t.equal((await one.load(at + P, 4)).toString(), 'aaaa');
  await one.store(at + 2 * P - 2, 'xyzw');
  t.equal((await other.load(there + 2 * P - 3, 6)).toString(), 'axyzwa', 'another process sees it');
  await file.write(world.task(), 3 * P, Buffer.from('written'));
  t.equal((await one.load(at + 3 * P, 8)).toString(), 'writtena', 'write(2) is seen');
  t.equal(file.mapping.i_pages.marked('dirty'), true, 'the stores have dirtied the file');
  await sync(world, file);
  t.equal(file.stored().toString('latin1', 2 * P - 3, 2 * P + 3), 'axyzwa', 'and reach the device');
  await exit_mmap(one.task, one.mm);
  await exit_mmap(other.task, other.mm);
  t.same(world.messages(), []);
  t.equal(world.memory.mms.size, 0);
});

t.test('a store after writeback faults again, and is not lost', async (t) => {
  const world = new World();
  const file = await fileOf(world, 1);
  const process = new Process(world);
  let mkwrites = 0;
  const counting = new TestVmFile(file, {
    page_mkwrite: (task, vma, vmf) => {
      mkwrites++;
      return generic_file_vm_ops.page_mkwrite?.(task, vma, vmf) ?? 0;
    },
  });
  const at = await process.mmap(counting, P);
  await process.store(at, '1');
  await process.store(at, '2');
  t.equal(mkwrites, 1, 'the second store goes through');
  await sync(world, file);
  t.equal(process.mm.pgd.pte(at / P)?.write, false, 'writeback has write-protected it');
  await process.store(at, '3');
  t.equal(mkwrites, 2);
  t.equal(file.mapping.i_pages.marked('dirty'), true);
  await sync(world, file);
  t.equal(file.stored().toString('latin1', 0, 2), '3a');
  t.same(world.messages(), []);
});

t.test('a store waits while its page is written', async (t) => {
  const world = new World();
  const file = await fileOf(world, 1);
  const process = new Process(world);
  const at = await process.mmap(new TestVmFile(file), P);
  await process.store(at, '1');
  file.behaviour = { hold: true };
  const writing = sync(world, file);
  await hops(20);
  let stored = false;
  const storing = process.store(at, '2').then(() => {
    stored = true;
  });
  await hops(50);
  t.equal(stored, false, 'stable while it is on its way');
  file.behaviour = {};
  file.resume();
  await Promise.all([writing, storing]);
  t.equal(file.stored().toString('latin1', 0, 1), '1', 'what was written is what was there');
  await sync(world, file);
  t.equal(file.stored().toString('latin1', 0, 1), '2');
  t.same(world.messages(), []);
});

t.test('beyond the end of the file is SIGBUS, without a mapping SIGSEGV, without leave too', async (t) => {
  const world = new World();
  const file = await fileOf(world, 2);
  const process = new Process(world);
  const at = await process.mmap(new TestVmFile(file), 4 * P);
  t.equal(await failureOf(process.load(at + 2 * P, 1)), 'SIGBUS');
  t.equal(await failureOf(process.store(at + 3 * P, 'x')), 'SIGBUS');
  t.equal(await failureOf(process.load(at + 4 * P, 1)), 'SIGSEGV');
  await mprotect(process.task, process.mm, at, P, PROT_READ);
  t.equal(await failureOf(process.store(at, 'x')), 'SIGSEGV');
  t.equal(await failureOf(copy_to_user(process.task, process.mm, at, Buffer.from('x'))), 'EFAULT');
  t.equal(await failureOf(copy_from_user(process.task, process.mm, at + 2 * P, Buffer.alloc(1))), 'EFAULT');
  await process.store(at + P, 'x');
  t.equal(process.mm.vmas.length, 2, 'mprotect has split the area');
  t.same(world.messages(), []);
});

t.test('a page that cannot be read is SIGBUS, and read again at the next access', async (t) => {
  const world = new World();
  const file = await fileOf(world, 1);
  await file.truncate(world.task(), 0);
  file.i_size = P;
  file.device.set(0, Buffer.alloc(P, 'b'));
  const process = new Process(world);
  const at = await process.mmap(new TestVmFile(file), P);
  file.behaviour = { failRead: () => true, delay: () => 3 };
  t.equal(await failureOf(process.load(at, 1)), 'SIGBUS');
  file.behaviour = {};
  t.equal((await process.load(at, 1)).toString(), 'b');
  t.same(world.messages(), []);
});

t.test('truncation takes pages out of page tables, private copies too', async (t) => {
  const world = new World();
  const file = await fileOf(world, 4);
  const shared = new Process(world);
  const apart = new Process(world);
  const at = await shared.mmap(new TestVmFile(file), 4 * P);
  const copied = await apart.mmap(new TestVmFile(file), 4 * P, MAP_PRIVATE);
  for (let page = 0; page < 4; page++) {
    await shared.store(at + page * P, 's');
    await apart.store(copied + page * P, 'p');
  }
  t.equal((await shared.load(at, 1)).toString(), 's');
  t.equal((await apart.load(copied, 2)).toString(), 'pa', 'a private copy is private');
  await file.truncate(world.task(), 2 * P);
  t.equal(await failureOf(shared.load(at + 2 * P, 1)), 'SIGBUS');
  t.equal(await failureOf(apart.load(copied + 2 * P, 1)), 'SIGBUS', 'the copy is gone with its page');
  t.equal((await apart.load(copied + P, 1)).toString(), 'p', 'the others stay');
  await file.punch(world.task(), 0, P);
  t.equal((await shared.load(at, 1)).readUInt8(0), 0, 'a punched hole is zeroes');
  t.equal((await apart.load(copied, 1)).toString(), 'p', 'a copy survives a hole');
  await exit_mmap(shared.task, shared.mm);
  await exit_mmap(apart.task, apart.mm);
  t.same(world.messages(), []);
});

t.test('a page that is truncated while it becomes writable is not written', async (t) => {
  const world = new World();
  const file = await fileOf(world, 2);
  const process = new Process(world);
  const at = await process.mmap(new TestVmFile(file), 2 * P);
  await process.load(at + P, 1);
  const cutter = world.task('cutter');
  const invalidate = await file.mapping.invalidate_lock.write(cutter);
  const storing = failureOf(process.store(at + P, 'x'));
  await hops(20);
  invalidate.release();
  await file.truncate(cutter, P);
  t.equal(await storing, 'SIGBUS', 'the fault is repeated and finds the end of the file');
  t.same(world.messages(), []);
});

t.test('a locked page makes the fault drop mmap_lock and come again', async (t) => {
  const world = new World();
  const file = await fileOf(world, 1);
  const process = new Process(world);
  const at = await process.mmap(new TestVmFile(file, { map_pages: () => 0 }), P);
  const holder = world.task('holder');
  const folio = file.mapping.i_pages.load(0);
  if (folio === undefined) throw new Error('no folio');
  await folio.lock.lock(holder);
  const loading = process.load(at, 1);
  await hops(20);
  const writer = world.task('mmap');
  const write = process.mm.mmap_lock.tryWrite(writer);
  t.ok(write, 'mmap_lock is free meanwhile');
  write?.release();
  folio_unlock(holder, folio);
  t.equal((await loading).toString(), 'a');
  t.same(world.messages(), []);
});

t.test('open and close are called for each area, under mmap_lock as the rows say', async (t) => {
  const world = new World();
  const file = await fileOf(world, 4);
  const calls: string[] = [];
  const process = new Process(world);
  const mode = (): string => process.task.held.find((held) => held.name === 'mmap_lock')?.mode ?? 'none';
  const vmFile = new TestVmFile(file, {
    open: (_task, vma) => void calls.push(`open ${vma.vm_pgoff} ${mode()}`),
    close: (_task, vma) => void calls.push(`close ${vma.vm_pgoff} ${mode()}`),
  });
  const at = await process.mmap(vmFile, 4 * P);
  t.same(calls, [], 'not for the first');
  await do_munmap(process.task, process.mm, at + P, P);
  t.same(calls, ['open 1 write', 'open 2 write', 'close 1 read'], 'two splits, one area closed after the downgrade');
  t.equal(vmFile.users, 2);
  await exit_mmap(process.task, process.mm);
  t.same(calls.slice(3), ['close 0 write', 'close 2 write']);
  t.equal(vmFile.users, 0);
  t.same(world.messages(), []);
});

t.test('mmap: where things go, and what is refused', async (t) => {
  const world = new World();
  const file = await fileOf(world, 1);
  const process = new Process(world);
  const { task, mm } = process;
  const first = await process.mmap(new TestVmFile(file), P);
  const second = await process.mmap(new TestVmFile(file), 3 * P);
  t.equal(second, first - 3 * P, 'downwards, side by side');
  await do_munmap(task, mm, second + P, P);
  t.equal(await process.mmap(new TestVmFile(file), P), second + P, 'a gap is filled');
  const hint = 0x10000000;
  t.equal(await process.mmap(new TestVmFile(file), P, MAP_SHARED, 0, hint), hint, 'a hint that is free is taken');
  t.equal(await failureOf(process.mmap(new TestVmFile(file), P, MAP_SHARED | MAP_FIXED_NOREPLACE, 0, hint)), 'EEXIST');
  await process.store(hint, 'x');
  t.equal(await process.mmap(undefined, P, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0, hint), hint);
  t.equal((await process.load(hint, 1)).readUInt8(0), 0, 'MAP_FIXED has replaced it');
  t.equal(await failureOf(process.mmap(new TestVmFile(file), 0)), 'EINVAL');
  t.equal(await failureOf(process.mmap(new TestVmFile(file), P, 0)), 'EINVAL');
  t.equal(await failureOf(process.mmap(new TestVmFile(file), P, MAP_SHARED, 1)), 'EINVAL');
  t.equal(await failureOf(process.mmap(undefined, P, MAP_PRIVATE)), 'ENODEV');
  t.equal(await failureOf(process.mmap(undefined, 2 ** 47, MAP_PRIVATE | MAP_ANONYMOUS)), 'ENOMEM');
  const readOnly = { addr: 0, length: P, flags: MAP_SHARED, file: new TestVmFile(file), mayWrite: false };
  t.equal(await failureOf(mmap_region(task, mm, { ...readOnly, prot: PROT_WRITE })), 'EACCES');
  const at = await mmap_region(task, mm, { ...readOnly, prot: PROT_READ });
  t.equal(await failureOf(mprotect(task, mm, at, P, PROT_WRITE)), 'EACCES');
  t.equal(await failureOf(mprotect(task, mm, hint + P, P, PROT_READ)), 'ENOMEM');
  t.equal(await failureOf(do_munmap(task, mm, at + 1, P)), 'EINVAL');
  await do_munmap(task, mm, 0x20000000, P);
  t.same(world.messages(), []);
});

t.test('msync writes a shared mapping; MADV_DONTNEED drops what is private', async (t) => {
  const world = new World();
  const file = await fileOf(world, 2);
  const process = new Process(world);
  const { task, mm } = process;
  const at = await process.mmap(new TestVmFile(file), 2 * P);
  await process.store(at + P, 'sync');
  await msync(task, mm, at, 2 * P, MS_ASYNC);
  t.equal(file.stored().toString('latin1', P, P + 4), 'aaaa', 'MS_ASYNC begins nothing');
  await msync(task, mm, at, 2 * P, MS_SYNC);
  t.equal(file.stored().toString('latin1', P, P + 4), 'sync');
  t.equal(await failureOf(msync(task, mm, at, 2 * P, MS_SYNC | MS_ASYNC)), 'EINVAL');
  t.equal(await failureOf(msync(task, mm, at - P, 3 * P, MS_SYNC)), 'ENOMEM');
  const own = await process.mmap(undefined, P, MAP_PRIVATE | MAP_ANONYMOUS);
  await process.store(own, 'gone');
  await madvise(task, mm, own, P, MADV_DONTNEED);
  t.ok((await process.load(own, 4)).equals(Buffer.alloc(4)));
  t.same(world.messages(), []);
});

t.test('mremap moves private pages along', async (t) => {
  const world = new World();
  const process = new Process(world);
  const { task, mm } = process;
  await process.mmap(undefined, P, MAP_PRIVATE | MAP_ANONYMOUS);
  const at = await process.mmap(undefined, 2 * P, MAP_PRIVATE | MAP_ANONYMOUS);
  await process.store(at + P, 'moved');
  const moved = await mremap(task, mm, at, 2 * P, 8 * P);
  t.not(moved, at, 'there was no room above');
  t.equal((await process.load(moved + P, 5)).toString(), 'moved');
  t.equal(await failureOf(process.load(at, 1)), 'SIGSEGV');
  t.equal(await failureOf(mremap(task, mm, at + 64 * P, 8 * P, P)), 'EFAULT', 'what is not there');
  t.equal(await mremap(task, mm, moved, 8 * P, P), moved, 'it shrinks in place');
  t.equal(await failureOf(process.load(moved + P, 1)), 'SIGSEGV');
  await exit_mmap(task, mm);
  t.equal(world.memory.pool.used, 0);
  t.same(world.messages(), []);
});

t.test('a child shares private pages until one of the two writes', async (t) => {
  const world = new World();
  const file = await fileOf(world, 1);
  const parent = new Process(world);
  const vmFile = new TestVmFile(file);
  const at = await parent.mmap(vmFile, P, MAP_PRIVATE);
  const shared = await parent.mmap(new TestVmFile(file), P);
  await parent.store(at, 'parent');
  const before = world.memory.pool.used;
  const child = new Process(world, await dup_mmap(parent.task, parent.mm));
  t.equal(world.memory.pool.used, before, 'nothing is copied yet');
  t.equal(vmFile.users, 2);
  t.equal((await child.load(at, 6)).toString(), 'parent');
  await child.store(at, 'child!');
  await parent.store(shared, 'both');
  t.equal((await parent.load(at, 6)).toString(), 'parent');
  t.equal((await child.load(at, 6)).toString(), 'child!');
  t.equal((await child.load(shared, 4)).toString(), 'both', 'what is shared stays shared');
  await exit_mmap(child.task, child.mm);
  await exit_mmap(parent.task, parent.mm);
  t.equal(vmFile.users, 0);
  t.same(world.messages(), []);
});

t.test('planted: handlers that lie about the lock of the page', async (t) => {
  const world = new World();
  const file = await fileOf(world, 1);
  const liar = new Process(world);
  const at = await liar.mmap(
    new TestVmFile(file, {
      map_pages: () => 0,
      fault: async (task, vmf) => {
        const ret = (await generic_file_vm_ops.fault?.(task, vmf)) ?? 0;
        if (vmf.page !== undefined) folio_unlock(task, vmf.page);
        return ret;
      },
    }),
    P,
  );
  t.equal(await failureOf(liar.load(at, 1)), 'SIGBUS');
  t.same(
    world.violations.map(({ kind, rule }) => `${kind} ${rule}`),
    ['lock-not-held vm_operations_struct.fault/folio/folio'],
  );
  world.violations.length = 0;
  const keeper = new Process(world);
  const there = await keeper.mmap(
    new TestVmFile(file, {
      map_pages: () => 0,
      fault: async (task, vmf) => ((await generic_file_vm_ops.fault?.(task, vmf)) ?? 0) & ~VM_FAULT_LOCKED,
    }),
    P,
  );
  t.equal((await keeper.load(there, 1)).toString(), 'a');
  t.ok(
    world.violations.some(({ kind, row }) => kind === 'leaked-by-operation' && row === 'vm_operations_struct.fault'),
  );
});

t.test('planted: map_pages that waits', async (t) => {
  const world = new World();
  const file = await fileOf(world, 1);
  const process = new Process(world);
  const at = await process.mmap(
    new TestVmFile(file, {
      map_pages: (task) => {
        void file.mapping.invalidate_lock.read(task);
        return VM_FAULT_NOPAGE;
      },
    }),
    P,
  );
  void failureOf(process.load(at, 1));
  await hops(30);
  t.ok(
    world.violations.some(({ kind, row }) => kind === 'sleep-in-atomic' && row === 'vm_operations_struct.map_pages'),
  );
});
