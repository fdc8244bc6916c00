/**
 * What scanning an answer costs: `bun bench/scrub.ts`. Each figure is the median of 200 samples of 64 KiB, for an API
 * key of 32 characters (all of its forms), next to one `Buffer.indexOf` per form.
 */
import { randomBytes } from "node:crypto";
import { BlockSearch } from "../src/proxy/scrub/block-search.ts";
import { NeedleSet } from "../src/proxy/scrub/needles.ts";
import { Scanner } from "../src/proxy/scrub/scanner.ts";

const size = 64 * 1024;
const one = [{ key: "KEY", value: "sk_live_4eC39HqLyjWDarjtT1zdp7dc" }];
const two = [...one, { key: "USER", value: "operations@example.com" }];

const text = (line: () => string) => {
  let all = "";
  while (all.length < size) all += line();
  return Buffer.from(all.slice(0, size));
};
const bodies: Readonly<Record<string, Buffer>> = {
  "random bytes": randomBytes(size),
  base64: text(() => randomBytes(57).toString("base64")),
  JSON: text(() => `{"id":"${randomBytes(8).toString("hex")}","name":"A \\"quoted\\" name","count":${Date.now()}},\n`),
  "JSON, every letter escaped": text(() =>
    [..."Text as some libraries write it. "].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`).join(""),
  ),
  HTML: text(() => `<li class="item"><a href="/a?b=1&amp;c=2">Item &quot;x&quot;</a> and some words around it</li>\n`),
  "events of 128 bytes": text(
    () => `data: {"choices":[{"delta":{"content":" word"}}],"id":"${randomBytes(8).toString("hex")}"}\n\n`,
  ),
};

function median(run: () => void): number {
  for (let i = 0; i < 200; i += 1) run();
  const samples = Array.from({ length: 200 }, () => {
    const from = performance.now();
    run();
    return (performance.now() - from) * 1000;
  });
  return samples.sort((a, b) => a - b)[100] ?? Number.NaN;
}

for (const [name, values] of [
  ["one value", one],
  ["two values", two],
] as const) {
  const set = new NeedleSet(values);
  const needles = set.needles.map(({ bytes }) => bytes);
  console.log(`\n${name}: ${needles.length} forms; µs for 64 KiB`);
  for (const [kind, body] of Object.entries(bodies)) {
    const search = new BlockSearch(needles);
    const step = kind.startsWith("events") ? 128 : size;
    const chunks = Array.from({ length: size / step }, (_, at) => body.subarray(at * step, (at + 1) * step));
    const scanner = new Scanner(set, "redact");
    const figures = {
      indexOf: median(() => needles.forEach((needle) => void body.indexOf(needle))),
      "block search": median(() => void search.find(body, 0)),
      scanner: median(() => chunks.forEach((chunk) => void scanner.push(chunk))),
    };
    console.log(
      kind.padEnd(28),
      Object.entries(figures)
        .map(([what, us]) => `${what} ${us.toFixed(1)}`.padEnd(22))
        .join(""),
    );
  }
}
