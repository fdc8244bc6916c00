import { Duplex } from "node:stream";
import { connect } from "node:tls";
import { describe, expect, it } from "vitest";
import { readClientHello } from "../../src/runtime/client-hello.ts";

/** What a real client sends first. */
function realHello(servername: string | undefined): Promise<Buffer> {
  return new Promise((resolve) => {
    const pipe = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        resolve(Buffer.from(chunk));
        done();
      },
    });
    const client = connect({ socket: pipe as never, ...(servername === undefined ? {} : { servername }) });
    client.on("error", () => undefined);
  });
}

/** A hello with these extensions and nothing else to speak of. */
function madeHello(extensions: Buffer): Buffer {
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32),
    Buffer.from([0, 0, 2, 0x13, 0x01, 1, 0]),
    sized(2, extensions),
  ]);
  return record(Buffer.concat([Buffer.from([1]), sized(3, body)]));
}

function record(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([22, 3, 1]), sized(2, payload)]);
}

function sized(size: number, bytes: Buffer): Buffer {
  const length = Buffer.alloc(size);
  length.writeUIntBE(bytes.length, 0, size);
  return Buffer.concat([length, bytes]);
}

function nameExtension(...names: string[]): Buffer {
  const entries = names.map((name) => Buffer.concat([Buffer.from([0]), sized(2, Buffer.from(name))]));
  return Buffer.concat([Buffer.from([0, 0]), sized(2, sized(2, Buffer.concat(entries)))]);
}

describe("a ClientHello", () => {
  it("tells its name, however its bytes arrive", async () => {
    const hello = await realHello("Api.Test");
    expect(readClientHello(hello)).toEqual({ kind: "hello", name: "api.test" });
    for (let end = 0; end < hello.length; end++) {
      expect(readClientHello(hello.subarray(0, end))).toEqual({ kind: "incomplete" });
    }
    const early = Buffer.concat([hello, Buffer.from("anything")]);
    expect(readClientHello(early)).toEqual({ kind: "hello", name: "api.test" });
  });

  it("may come in several records", () => {
    const whole = madeHello(nameExtension("api.test"));
    const message = whole.subarray(5);
    for (let at = 1; at < message.length; at++) {
      const split = Buffer.concat([record(message.subarray(0, at)), record(message.subarray(at))]);
      expect(readClientHello(split)).toEqual({ kind: "hello", name: "api.test" });
    }
  });

  it("may name nobody", () => {
    expect(readClientHello(madeHello(Buffer.alloc(0)))).toEqual({ kind: "hello", name: undefined });
  });

  it.each([
    { what: "two names in one list", bytes: madeHello(nameExtension("api.test", "evil.test")) },
    {
      what: "two lists of names",
      bytes: madeHello(Buffer.concat([nameExtension("api.test"), nameExtension("evil.test")])),
    },
    { what: "an empty name", bytes: madeHello(nameExtension("")) },
    { what: "a list that is longer than its extension", bytes: madeHello(Buffer.from([0, 0, 0, 2, 0, 9])) },
    { what: "an empty record", bytes: Buffer.from([22, 3, 1, 0, 0]) },
    { what: "a record that is too long", bytes: Buffer.from([22, 3, 1, 0xff, 0xff]) },
    { what: "a hello that is too long", bytes: record(Buffer.from([1, 0x10, 0, 0])) },
    { what: "another message", bytes: record(Buffer.from([2, 0, 0, 0])) },
    {
      what: "records of one byte, each of which is work",
      bytes: Buffer.concat(Array.from({ length: 65 }, (_, at) => record(Buffer.from([[1, 0, 16, 0][at] ?? 0])))),
    },
    { what: "HTTP", bytes: Buffer.from("GET / HTTP/1.1\r\n\r\n") },
    { what: "SSH", bytes: Buffer.from("SSH-2.0-x\r\n") },
  ])("is not taken from $what", ({ bytes }) => {
    expect(readClientHello(bytes)).toEqual({ kind: "not_tls" });
  });

  it("is read from any bytes without a throw", async () => {
    const hello = await realHello("api.test");
    for (let at = 0; at < hello.length; at++) {
      for (const value of [0, 1, 0x7f, 0xff]) {
        const bent = Buffer.from(hello);
        bent[at] = value;
        expect(["incomplete", "not_tls", "hello"]).toContain(readClientHello(bent).kind);
      }
    }
  });
});
