import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { knownLeak } from "../support/declaration.ts";
import { fixed, hearAnswer } from "../support/reflection.ts";
import { bearerService, hosts, type Stage, secret, setStage } from "../support/stage.ts";

const leak = knownLeak({
  wants:
    "to hear the credential in a form that nobody looks for: backwards, base64 of base64, in broken lines, quoted-printable",
  consequence:
    "The forms that are looked for are a list. Whoever can make an upstream transform what it was sent hears it; give agents services without such functions.",
});

const forms: Readonly<Record<string, { write: (text: string) => string; read: (text: string) => string }>> = {
  "written backwards": { write: reversed, read: reversed },
  "base64 of base64": { write: (text) => base64(base64(text)), read: (text) => plain(plain(text)) },
  "base64 in lines of 16": {
    write: (text) => base64(text).replaceAll(/.{16}/g, "$&\r\n"),
    read: (text) => plain(text.replaceAll(/\s/g, "")),
  },
  "quoted-printable": {
    write: (text) => text.replaceAll("_", "=5F"),
    read: (text) => text.replaceAll("=5F", "_"),
  },
  "escaped with braces": {
    write: (text) => [...text].map((letter) => `\\u{${letter.charCodeAt(0).toString(16)}}`).join(""),
    read: (text) =>
      text.replaceAll(/\\u\{(\w+)\}/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
  },
  "one blank after each letter": {
    write: (text) => [...text].join(" "),
    read: (text) => text.replaceAll(" ", ""),
  },
};

describe("an upstream that transforms the credential", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage();
    await stage.services([bearerService(`${hosts.api}:${stage.secure.port}`)]);
  });
  afterAll(() => stage[Symbol.asyncDispose]());
  beforeEach(() => stage.secure.reset());

  for (const [name, { write, read }] of Object.entries(forms)) {
    leak.stillLeaks(`is heard when it is ${name}`, async () => {
      const heard = await hearAnswer(stage, fixed("", write(secret)));
      expect(heard).toMatch(/^HTTP\/1\.1 200 /);
      return read(heard.slice(heard.indexOf("\r\n\r\n") + 4)) === secret;
    });
  }
});

function reversed(text: string): string {
  return [...text].reverse().join("");
}

function base64(text: string): string {
  return Buffer.from(text, "latin1").toString("base64");
}

function plain(text: string): string {
  return Buffer.from(text, "base64").toString("latin1");
}
