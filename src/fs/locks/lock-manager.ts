/**
 * Locks and delegations for clients that are far away (what lockd and nfsd are to the VFS). A client is known by what it tells, has no descriptors, and may
 * vanish without a word: it renews its lease, and once that has run out, what it holds is taken from it as soon as somebody else wants it.
 */
import { allInTurn, orElse } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import type { SuperBlock } from '../super-block.js';
import { type ClientCallbacks, type LockServer, RemoteClient } from './remote-client.js';

export class LockManager implements LockServer {
  readonly sb: SuperBlock;
  readonly lease: number;
  readonly #clients = new Set<RemoteClient>();
  readonly #doomed = new Set<RemoteClient>();
  readonly #due: (() => void)[] = [];

  constructor(sb: SuperBlock, options: { readonly lease: number }) {
    this.sb = sb;
    this.lease = options.lease;
  }

  /** A client introduces itself (SETCLIENTID). */
  connect(callbacks: ClientCallbacks = {}): RemoteClient {
    const client = new RemoteClient(this, callbacks);
    this.#clients.add(client);
    return client;
  }

  /** The server stops: nobody holds anything any more. */
  async stop(task: Task): Promise<void> {
    await allInTurn([...this.#clients].map((client) => () => client.destroy(task)));
  }

  post(callback: () => void): void {
    this.#due.push(callback);
    if (this.#due.length > 1) return;
    const { sched } = this.sb;
    const sent = sched.run(async () => {
      await sched.yield();
      await allInTurn(this.#due.splice(0));
    });
    if (sent instanceof Promise) sent.catch((error: unknown) => this.#complain('a client was not called back', error));
  }

  #complain(what: string, error: unknown): void {
    this.sb.machine.printk?.(`${this.sb.s_id}: ${what}: ${error}`);
  }

  condemn(client: RemoteClient): boolean {
    if (!client.expired || client.destroyed) return false;
    this.#doomed.add(client);
    return true;
  }

  async expire(task: Task): Promise<void> {
    for (const client of this.#doomed) {
      this.#doomed.delete(client);
      if (!client.expired) continue;
      // What fails in that is no matter of the caller's.
      await orElse(
        () => client.destroy(task),
        (error) => this.#complain('a client was dropped', error),
      );
    }
  }

  forget(client: RemoteClient): void {
    this.#clients.delete(client);
  }
}
