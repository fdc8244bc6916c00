/**
 * Reads the text format of Prometheus (0.0.4) and refuses what a scraper would refuse, or what `promtool check metrics`
 * complains of.
 */
export interface ExposedFamily {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  /** Value by name and labels, the labels in the order of the text: `name{a="b"}`. */
  readonly samples: ReadonlyMap<string, number>;
}

const sampleLine =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*"(?:,(?!\})|(?=\})))*)\})? (-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|\+Inf|NaN)$/;
const label = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"/g;

/** @throws {Error} naming the line, and what is wrong with it. */
export function parseExposition(text: string): ReadonlyMap<string, ExposedFamily> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const families = new Map<string, { type: ExposedFamily["type"]; help: string; samples: Map<string, number> }>();
  const lines = text.slice(0, -1).split("\n");
  let current = "";
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? "";
    const fail = (why: string): never => {
      throw new Error(`line ${at + 1} (${line}): ${why}`);
    };
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)$/.exec(line);
    if (help) {
      const [, name = "", said = ""] = help;
      const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(lines[at + 1] ?? "");
      if (type?.[1] !== name) fail("its type does not follow");
      if (families.has(name)) fail("comes twice");
      if (type?.[2] === "counter" && !name.endsWith("_total")) fail("a counter ends in _total");
      if (type?.[2] !== "counter" && name.endsWith("_total")) fail("only a counter ends in _total");
      if (/[^.]$/.test(said)) fail("its help is no sentence");
      families.set(name, { type: type?.[2] as ExposedFamily["type"], help: said, samples: new Map() });
      current = name;
      at++;
      continue;
    }
    const found = sampleLine.exec(line);
    if (!found) return fail("is no sample");
    const [, name = "", labels = "", number = ""] = found;
    const family = families.get(current);
    const own = family?.type === "histogram" ? name.replace(/_(bucket|sum|count)$/, "") : name;
    if (!family || own !== current || (family.type === "histogram" && own === name))
      return fail("is of another family");
    const names = [...labels.matchAll(label)].map(([, one]) => one ?? "");
    if (new Set(names).size !== names.length) fail("has a label twice");
    if (names.some((one) => one.startsWith("__"))) fail("has a reserved label");
    if (names.includes("le") !== name.endsWith("_bucket")) fail("has le where there is no bucket");
    const key = line.slice(0, line.lastIndexOf(" "));
    if (family.samples.has(key)) fail("comes twice");
    const value = number === "+Inf" ? Number.POSITIVE_INFINITY : Number(number);
    if (Number.isNaN(value)) fail("is no number");
    if (family.type === "counter" && value < 0) fail("counts backwards");
    family.samples.set(key, value);
  }
  for (const [name, family] of families) if (family.type === "histogram") checkHistogram(name, family.samples);
  return families;
}

/** Buckets that only grow, the last one without an end and equal to the count. */
function checkHistogram(name: string, samples: ReadonlyMap<string, number>): void {
  const series = new Map<string, { bound: number; value: number }[]>();
  for (const [key, value] of samples) {
    const bucket = new RegExp(`^${name}_bucket\\{(.*,)?le="([^"]+)"\\}$`).exec(key);
    if (!bucket) continue;
    const labels = (bucket[1] ?? "").replace(/,$/, "");
    const bound = bucket[2] === "+Inf" ? Number.POSITIVE_INFINITY : Number(bucket[2]);
    series.set(labels, [...(series.get(labels) ?? []), { bound, value }]);
  }
  for (const [labels, buckets] of series) {
    const of = labels === "" ? "" : `{${labels}}`;
    const isSorted = buckets.every((one, at) => {
      const before = buckets[at - 1];
      return before === undefined || (before.bound < one.bound && before.value <= one.value);
    });
    if (!isSorted) throw new Error(`${name}${of}: buckets out of order`);
    if (buckets.at(-1)?.bound !== Number.POSITIVE_INFINITY) throw new Error(`${name}${of}: no bucket +Inf`);
    if (buckets.at(-1)?.value !== samples.get(`${name}_count${of}`)) throw new Error(`${name}${of}: count`);
    if (samples.get(`${name}_sum${of}`) === undefined) throw new Error(`${name}${of}: no sum`);
  }
}
