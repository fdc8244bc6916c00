/**
 * What rewriting costs: `bun bench/rewriting.ts`. Medians of 200 samples, in µs: a JSON body of 64 KiB with a placeholder
 * in it and without one, and 512 WebSocket messages of 128 bytes, or one of 64 KiB, as they come from an agent.
 */
import { randomBytes } from "node:crypto";
import { BodySubstituter } from "../src/proxy/substitute/body.ts";
import { Substitutions } from "../src/proxy/substitute/substitutions.ts";
import { opcodes, serializeFrame } from "../src/proxy/websocket/frame.ts";
import { substitutingRewriter } from "../src/proxy/websocket/inspect.ts";

const size = 64 * 1024;
const substitutions = new Substitutions([
  { key: "KEY", placeholder: "__key__", value: "sk_live_4eC39HqLyjWDarjtT1zdp7dc", in: ["body", "websocket"] },
]);
const line = () => `{"id":"${randomBytes(8).toString("hex")}","name":"A \\"quoted\\" name"},\n`;
let text = "";
while (text.length < size) text += line();
text = text.slice(0, size);
const withOne = `${text.slice(0, 1000)}__key__${text.slice(1007)}`;

function median(run: () => void): string {
  for (let i = 0; i < 200; i += 1) run();
  const samples = Array.from({ length: 200 }, () => {
    const from = performance.now();
    run();
    return (performance.now() - from) * 1000;
  });
  return (samples.sort((a, b) => a - b)[100] ?? Number.NaN).toFixed(1);
}

function body(content: string): string {
  const chunk = Buffer.from(content);
  const headers = ["Content-Type", "application/json"];
  return median(() => {
    const substituter = BodySubstituter.for(substitutions, { headers, length: undefined });
    substituter?.push(chunk);
    substituter?.end();
  });
}

function messages(content: string, count: number): string {
  const frame = serializeFrame(
    { isFinal: true, isCompressed: false, opcode: opcodes.text, payload: Buffer.from(content) },
    "client",
  );
  const chunk = Buffer.concat(Array.from({ length: count }, () => frame));
  const rewriter = substitutingRewriter(substitutions, { deflate: undefined });
  return median(() => void rewriter?.push(chunk));
}

console.log("body of 64 KiB, no placeholder     ", body(text));
console.log("body of 64 KiB, one placeholder    ", body(withOne));
console.log("512 messages of 128 bytes, none    ", messages(text.slice(0, 128), 512));
console.log("512 messages of 128 bytes, one each", messages(withOne.slice(990, 1118), 512));
console.log("one message of 64 KiB, none        ", messages(text, 1));
