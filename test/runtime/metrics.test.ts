import { describe, expect, it } from "vitest";
import { Histogram, Metrics } from "../../src/runtime/metrics.ts";

describe("metrics", () => {
  it("are written as Prometheus reads them", () => {
    const metrics = new Metrics();
    const histogram = new Histogram([0.1, 1]);
    for (const seconds of [0.05, 0.1, 0.5, 7]) histogram.observe(seconds);
    metrics.add("counter", "requests_total", "Requests.", () => [
      { labels: { vault: "a", code: "" }, value: 2 },
      { value: 1 },
    ]);
    metrics.add("gauge", "open", "Open now.", () => 3);
    metrics.histograms("seconds", "How long.", () => [{ labels: { vault: "a" }, histogram }]);
    expect(metrics.render()).toBe(
      [
        "# HELP requests_total Requests.",
        "# TYPE requests_total counter",
        'requests_total{vault="a",code=""} 2',
        "requests_total 1",
        "# HELP open Open now.",
        "# TYPE open gauge",
        "open 3",
        "# HELP seconds How long.",
        "# TYPE seconds histogram",
        'seconds_bucket{vault="a",le="0.1"} 2',
        'seconds_bucket{vault="a",le="1"} 3',
        'seconds_bucket{vault="a",le="+Inf"} 4',
        'seconds_sum{vault="a"} 7.65',
        'seconds_count{vault="a"} 4',
        "",
      ].join("\n"),
    );
  });

  it("cannot be forged by a label", () => {
    const metrics = new Metrics();
    metrics.add("gauge", "open", "Open.", () => [{ labels: { name: 'a"} 1\nforged 2\\' }, value: 0 }]);
    expect(metrics.render()).toContain('open{name="a\\"} 1\\nforged 2\\\\"} 0\n');
  });
});
