/** Numbers that a running process keeps about itself, and how Prometheus reads them (text format 0.0.4). */

export const metricsContentType = "text/plain; version=0.0.4; charset=utf-8";

export type Labels = Readonly<Record<string, string>>;

/** To be held by whoever counts, so that counting is one addition. */
export class Counter {
  value = 0;
}

/** Counters by the value of one label, which is a word of ours. */
export class CounterSet {
  readonly #counters = new Map<string, Counter>();
  readonly #label: string;

  constructor(label: string) {
    this.#label = label;
  }

  raise(word: string, by = 1): void {
    const known = this.#counters.get(word);
    if (known) known.value += by;
    else if (by > 0) {
      const counter = new Counter();
      counter.value = by;
      this.#counters.set(word, counter);
    }
  }

  samples(): readonly Sample[] {
    return [...this.#counters].map(([word, { value }]) => ({ labels: { [this.#label]: word }, value }));
  }
}

/** Counts values by size, in seconds. */
export class Histogram {
  /** Upper ends in seconds, ascending. */
  readonly bounds: readonly number[];
  /** As many as bounds, and one for what is above the last. */
  readonly counts: number[];
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(seconds: number): void {
    this.sum += seconds;
    const { bounds, counts } = this;
    let at = 0;
    while (at < bounds.length && seconds > (bounds[at] ?? 0)) at++;
    counts[at] = (counts[at] ?? 0) + 1;
  }
}

export type MetricType = "counter" | "gauge";

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

export interface HistogramSample {
  readonly labels: Labels;
  readonly histogram: Histogram;
}

/** One metric with all its series, as they are now. */
export type Family = { readonly name: string; readonly help: string } & (
  | { readonly type: MetricType; readonly samples: readonly Sample[] }
  | { readonly type: "histogram"; readonly samples: readonly HistogramSample[] }
);

/** All metrics of a process. Read when somebody asks; nothing is worked out before. */
export class Metrics {
  readonly #families: (() => Family)[] = [];

  /** A number that somebody else keeps. */
  add(type: MetricType, name: string, help: string, read: () => number | readonly Sample[]): void {
    this.#families.push(() => {
      const found = read();
      return { name, help, type, samples: typeof found === "number" ? [{ value: found }] : found };
    });
  }

  histograms(name: string, help: string, read: () => Iterable<HistogramSample>): void {
    this.#families.push(() => ({ name, help, type: "histogram", samples: [...read()] }));
  }

  collect(): readonly Family[] {
    return this.#families.map((read) => read());
  }

  render(): string {
    const lines = this.collect().flatMap((family) => [
      `# HELP ${family.name} ${family.help}`,
      `# TYPE ${family.name} ${family.type}`,
      ...linesOf(family),
    ]);
    return `${lines.join("\n")}\n`;
  }
}

function linesOf(family: Family): string[] {
  const { name } = family;
  return family.type === "histogram"
    ? family.samples.flatMap((sample) => histogramLines(name, sample))
    : family.samples.map(({ labels = {}, value }) => line(name, labels, value));
}

/** One line per bound, each with all that is at most that; then sum and count. */
function histogramLines(name: string, { labels, histogram }: HistogramSample): string[] {
  const { bounds, counts, sum } = histogram;
  let below = 0;
  const lines = counts.map((count, at) => {
    below += count;
    return line(`${name}_bucket`, { ...labels, le: at < bounds.length ? String(bounds[at]) : "+Inf" }, below);
  });
  return [...lines, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, below)];
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}`;
}

/** Names of vaults and services are letters, digits and hyphens; a label that is not must not forge a line. */
function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}
