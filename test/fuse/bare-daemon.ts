// Serves the bare filesystem: node bare-daemon.js MOUNTPOINT [--blocking] [--allow-other] [--size=BYTES] [--ticker]. Prints READY once INIT is
// answered, and why it ended. A child process of the mount tests, and the daemon of the transport's benchmark.

import { BareFilesystem } from '../../src/fuse/bare.js';
import { errno, fcntl } from '../../src/fuse/libc.js';
import {
  decodeHeader,
  decodeInit,
  decodeNotifyReply,
  EXPIRE_ONLY,
  FuseDevice,
  flagNames,
  INIT,
  INIT2,
  MountError,
  mountFuse,
  Notify,
  notifyDelete,
  notifyEmpty,
  notifyInvalEntry,
  notifyInvalInode,
  notifyPrune,
  notifyRetrieve,
  notifyStore,
  Opcode,
  peekOpcode,
  Receive,
  ServeLoop,
  unmountFuse,
} from '../../src/fuse/wire.js';

const [mountpoint = '', ...rest] = process.argv.slice(2);
const has = (flag: string) => rest.includes(flag);
const size = Number(rest.find((arg) => arg.startsWith('--size='))?.slice(7) ?? 1 << 30);
const MAX_WRITE = 1 << 20;

function mounted() {
  try {
    return mountFuse(mountpoint, {
      fsname: 'bare,loop',
      subtype: 'bare',
      allowOther: has('--allow-other'),
      defaultPermissions: true,
    });
  } catch (error) {
    if (!(error instanceof MountError)) throw error;
    process.stdout.write(`${error.code}: ${error.message}\n`);
    process.exit(1);
  }
}

/** Sends one notification of each kind and prints what the kernel made of it. */
async function notifications(): Promise<void> {
  const { out } = device;
  const page = Buffer.alloc(4096, 0x42);
  const sent: [string, number | boolean][] = [
    ['inval_inode', device.notify(Notify.INVAL_INODE, notifyInvalInode(out, 2, 0, 0))],
    ['inval_entry', device.notify(Notify.INVAL_ENTRY, notifyInvalEntry(out, 1, 'file', EXPIRE_ONLY))],
    ['inc_epoch', device.notify(Notify.INC_EPOCH, notifyEmpty())],
    ['resend', device.notify(Notify.RESEND, notifyEmpty())],
    ['prune', device.notify(Notify.PRUNE, notifyPrune(out, [99]))],
    ['unknown', device.notify(Notify.INVAL_INODE, notifyInvalInode(out, 99, 0, 0))],
  ];
  device.data.add(page, 0, page.length);
  sent.push(['store', device.notifyData(Notify.STORE, notifyStore(out, 2, 0, page.length))]);
  sent.push(['retrieve', device.notify(Notify.RETRIEVE, notifyRetrieve(out, 2n ** 60n + 1n, 2, 0, page.length))]);
  device.data.add(page, 0, 100);
  device.data.add(Buffer.alloc(4000, 0x42), 2, 3996);
  const store = notifyStore(out, 2, 4096, page.length);
  sent.push(['store later', await device.notifyLater(Notify.STORE, store)]);
  const gone = notifyInvalEntry(out, 1, 'nothing');
  sent.push(['entry later', await device.notifyLater(Notify.INVAL_ENTRY, gone)]);
  sent.push(['delete', device.notify(Notify.DELETE, notifyDelete(out, 1, 2, 'file'))]);
  process.stdout.write(`NOTIFIED ${sent.map(([name, result]) => `${name}=${result}`).join(' ')}\n`);
}

const mount = mounted();
const device = new FuseDevice(mount.fd, MAX_WRITE);
const contents = Buffer.allocUnsafeSlow(MAX_WRITE);
for (let i = 0; i < contents.length; i++) contents[i] = (i * 7) & 0xff;
const bare = new BareFilesystem(device, contents, size);

if (has('--blocking')) {
  const message = device.take();
  fcntl(mount.fd, 4, 2); // F_SETFL O_RDWR
  process.stdout.write('READY\n');
  for (;;) {
    const got = device.receive(message);
    if (got > 0) bare.handle(message);
    else if (got === Receive.GONE) break;
  }
  process.stdout.write(`unmounted ${errno() === 0}\n`);
} else {
  let ready = false;
  let ticks = 0;
  const loop = new ServeLoop(
    device,
    (message) => {
      if (!ready) {
        const { major, minor, flags, flags2, max_readahead } = decodeInit(message);
        ready = true;
        process.stdout.write(
          `kernel ${major}.${minor} readahead ${max_readahead} offers ${flagNames(INIT, flags).join(' ')} | ${flagNames(INIT2, flags2).join(' ')}\n` +
            `READY ${mount.way} ${mount.connection}\n`,
        );
      }
      if (peekOpcode(message) === Opcode.NOTIFY_REPLY) {
        const { size, start } = decodeNotifyReply(message);
        const same = message.bytes.subarray(start, start + size).every((byte) => byte === 0x42);
        process.stdout.write(`RETRIEVED ${decodeHeader(message).unique} ${size} ${same}\n`);
      }
      bare.handle(message);
      if (bare.destroyed) loop.stop();
    },
    { running: () => 0 },
  );
  const ticker = has('--ticker') ? setInterval(() => ticks++, 10) : undefined;
  process.on('SIGTERM', () => {
    void unmountFuse(mount.mountpoint, false).catch((error: unknown) => {
      process.stdout.write(`${error instanceof Error ? error.message : error}\n`);
      loop.stop();
    });
  });
  process.on('SIGUSR2', () => void notifications());
  const started = performance.now();
  const reason = await loop.run();
  clearInterval(ticker);
  device.close();
  process.stdout.write(`${reason} after ${Math.round(performance.now() - started)} ms, ${ticks} ticks\n`);
}
