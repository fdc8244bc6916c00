/** A plan as people read it before they agree. */
import { stringify } from "yaml";
import type { Terminal } from "../../runtime/terminal.ts";
import { paint, printable, type Style } from "../output.ts";
import type { Action, Change, VaultPlan } from "./plan.ts";

const signs: Readonly<Record<Action, readonly [sign: string, style: Style]>> = {
  add: ["+", "green"],
  change: ["~", "yellow"],
  remove: ["-", "red"],
};

export function showPlan(terminal: Terminal, plan: VaultPlan): void {
  if (plan.changes.length === 0) return;
  terminal.out(`${paint(terminal, "bold", `vault ${plan.vault}`)}\n`);
  for (const change of plan.changes) showChange(terminal, change);
}

function showChange(terminal: Terminal, change: Change): void {
  const { section, action, name, before, after } = change;
  const [sign, style] = signs[action];
  const line = (text: string, lineStyle: Style = style) =>
    terminal.out(`${paint(terminal, lineStyle, printable(text))}\n`);
  if (section === "service") {
    line(`  ${sign} service ${name}`);
    if (action === "add") for (const text of yamlLines(after)) line(`      ${text}`);
    if (action === "change") {
      for (const [mark, text] of difference(yamlLines(before), yamlLines(after))) {
        if (mark === " ") terminal.out(`        ${printable(text)}\n`);
        else line(`      ${mark} ${text}`, mark === "+" ? "green" : "red");
      }
    }
    return;
  }
  const values = [before, after].filter((value) => typeof value === "string").join(" → ");
  line(`  ${sign} ${section} ${name}${values === "" ? "" : `: ${values}`}`);
}

function yamlLines(value: unknown): readonly string[] {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false }).trimEnd().split("\n");
}

type Mark = " " | "+" | "-";

/** The lines of both texts, with the longest common part kept once. */
export function difference(before: readonly string[], after: readonly string[]): readonly (readonly [Mark, string])[] {
  const common: number[][] = Array.from({ length: before.length + 1 }, () => new Array(after.length + 1).fill(0));
  const at = (row: number, column: number) => common[row]?.[column] ?? 0;
  for (let row = before.length - 1; row >= 0; row--) {
    for (let column = after.length - 1; column >= 0; column--) {
      const line = common[row] as number[];
      line[column] =
        before[row] === after[column]
          ? at(row + 1, column + 1) + 1
          : Math.max(at(row + 1, column), at(row, column + 1));
    }
  }
  const lines: [Mark, string][] = [];
  let [row, column] = [0, 0];
  while (row < before.length || column < after.length) {
    const [old, fresh] = [before[row], after[column]];
    if (old !== undefined && old === fresh) {
      lines.push([" ", old]);
      row++;
      column++;
    } else if (old !== undefined && (fresh === undefined || at(row + 1, column) >= at(row, column + 1))) {
      lines.push(["-", old]);
      row++;
    } else {
      lines.push(["+", fresh ?? ""]);
      column++;
    }
  }
  return lines;
}
