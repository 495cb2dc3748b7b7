// Serves the bare filesystem: node bare-daemon.js MOUNTPOINT [--blocking] [--allow-other] [--size=BYTES] [--ticker]. Prints READY once INIT is
// answered, and why it ended. A child process of the mount tests, and the daemon of the transport's benchmark.

import { BareFilesystem } from '../../src/fuse/bare.js';
import { errno, fcntl } from '../../src/fuse/native.js';
import {
  decodeInit,
  FuseDevice,
  flagNames,
  INIT,
  INIT2,
  MountError,
  mountFuse,
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
  const started = performance.now();
  const reason = await loop.run();
  clearInterval(ticker);
  device.close();
  process.stdout.write(`${reason} after ${Math.round(performance.now() - started)} ms, ${ticks} ticks\n`);
}
