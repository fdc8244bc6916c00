import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { silentLogger } from "../../src/log.ts";
import { type Database, openDatabase } from "../../src/storage/database.ts";
import { createPostgresDatabase } from "../support/postgres.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A database behind a wire that can be cut without anybody noticing, as a network does it. */
async function behindWire(): Promise<{ database: Database; freeze: () => void; break: () => void }> {
  const { url, drop } = await createPostgresDatabase();
  cleanups.push(drop);
  const real = new URL(url);
  const sockets = new Set<Socket>();
  const wire = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect(Number(real.port), "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
    }
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((ready) => wire.listen(0, "127.0.0.1", ready));
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    wire.close();
  });
  const address = new URL(url);
  address.port = String((wire.address() as AddressInfo).port);
  const database = await openDatabase({ url: address.href }, silentLogger);
  const freeze = () => {
    for (const socket of sockets) {
      socket.unpipe();
      socket.removeAllListeners("end");
      socket.pause();
    }
    wire.removeAllListeners("connection");
    // Who comes now is taken and never answered.
    wire.on("connection", (socket) => void sockets.add(socket));
  };
  return {
    database,
    freeze,
    break: () => {
      wire.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** What the driver gives to queries that are still running. */
const patienceMs = 5_000;

describe("a database that is away", () => {
  it.each([
    { how: "a network that swallows everything", cut: "freeze" },
    { how: "a server that is gone", cut: "break" },
  ] as const)("does not hold up the end: $how", async ({ cut }) => {
    const wire = await behindWire();
    await wire.database.transaction(async (tx) => void (await tx.selectFrom("instance").selectAll().execute()));
    await wire.database.channel?.listen(
      () => undefined,
      () => undefined,
    );
    wire[cut]();
    const lost = wire.database.ping().then(
      () => "answered",
      () => "lost",
    );
    const begun = performance.now();
    await wire.database.close();
    expect(performance.now() - begun).toBeLessThan(patienceMs - 1_000);
    expect(await lost).toBe("lost");
  });

  it("is not taken for one when it is busy: what runs comes to its end", async () => {
    const { database } = await behindWire();
    const work = database.transaction(async (tx) => {
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      return await tx.selectFrom("instance").select("id").executeTakeFirstOrThrow();
    });
    await database.ping();
    await database.close();
    expect(await work).toMatchObject({ id: 1 });
  });
});
