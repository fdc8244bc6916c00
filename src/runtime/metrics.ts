/** Numbers that a running process keeps about itself, as Prometheus reads them (text format 0.0.4). */

export const metricsContentType = "text/plain; version=0.0.4; charset=utf-8";

export type Labels = Readonly<Record<string, string>>;

/** To be held by whoever counts, so that counting is one addition. */
export class Counter {
  value = 0;
}

/** Counts values by size, in seconds. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  /** @param bounds upper ends in seconds, ascending; what is above the last is counted too. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  observe(seconds: number): void {
    this.#sum += seconds;
    const bounds = this.#bounds;
    let at = 0;
    while (at < bounds.length && seconds > (bounds[at] ?? 0)) at++;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }

  /** One line per bound, each with all that is at most that; then sum and count. */
  samples(name: string, labels: Labels): string[] {
    let below = 0;
    const lines = this.#counts.map((count, at) => {
      below += count;
      return line(
        `${name}_bucket`,
        { ...labels, le: at < this.#bounds.length ? String(this.#bounds[at]) : "+Inf" },
        below,
      );
    });
    return [...lines, line(`${name}_sum`, labels, this.#sum), line(`${name}_count`, labels, below)];
  }
}

export type MetricType = "counter" | "gauge";

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType | "histogram";
  readonly read: () => string[];
}

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

/** All metrics of a process. Read when somebody asks; nothing is worked out before. */
export class Metrics {
  readonly #families: Family[] = [];

  /** A number that somebody else keeps. */
  add(type: MetricType, name: string, help: string, read: () => number | readonly Sample[]): void {
    this.#families.push({
      name,
      help,
      type,
      read: () => {
        const found = read();
        const samples = typeof found === "number" ? [{ value: found }] : found;
        return samples.map(({ labels = {}, value }) => line(name, labels, value));
      },
    });
  }

  histograms(
    name: string,
    help: string,
    read: () => Iterable<{ readonly labels: Labels; readonly histogram: Histogram }>,
  ): void {
    this.#families.push({
      name,
      help,
      type: "histogram",
      read: () => [...read()].flatMap(({ labels, histogram }) => histogram.samples(name, labels)),
    });
  }

  render(): string {
    const lines = this.#families.flatMap(({ name, help, type, read }) => [
      `# HELP ${name} ${help}`,
      `# TYPE ${name} ${type}`,
      ...read(),
    ]);
    return `${lines.join("\n")}\n`;
  }
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}`;
}

/** Names of vaults and services are letters, digits and hyphens; a label that is not must not forge a line. */
function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}
