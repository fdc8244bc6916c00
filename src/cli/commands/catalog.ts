import type { Template } from "../../client/wire.ts";
import { UsageError } from "../../errors.ts";
import { type CliContext, command, jsonFlag, publicAddressFlag } from "../command.ts";
import { anonymousClient, resolveAddress } from "../connect.ts";
import { note, printFacts, printJson, printTable } from "../output.ts";
import { getTemplate, injectionOf, keysOf, needsHost } from "../service-template.ts";

const categoryFlag = {
  type: "string",
  description: "Only templates of this category, such as ai, code, data or payments",
} as const;

const list = command({
  meta: { name: "list", description: "List the templates" },
  args: { category: categoryFlag, json: jsonFlag, address: publicAddressFlag },
  async run({ args, context }) {
    await printTemplates(context, args, () => true);
  },
});

const search = command({
  meta: {
    name: "search",
    description: "Find templates by a word or by a host",
    details: "Every word has to occur in the ID, name, description, category, host or credential.",
    examples: ["agent-vault catalog search mail", "agent-vault catalog search yours.atlassian.net"],
  },
  args: {
    text: { type: "positional", repeatable: true, description: "Words, or the host that a program calls" },
    category: categoryFlag,
    json: jsonFlag,
    address: publicAddressFlag,
  },
  async run({ args, context }) {
    const words = args.text
      .flatMap((text) => text.toLowerCase().split(/\s+/))
      .map(hostOfUrl)
      .filter(Boolean);
    if (words.length === 0) {
      throw new UsageError("search_empty", "Nothing is searched for", { hint: "agent-vault catalog search mail" });
    }
    await printTemplates(context, args, (template) => words.every((word) => fits(template, word)));
  },
});

const show = command({
  meta: { name: "show", description: "Show a template, what it sends, and how to add it" },
  args: {
    id: { type: "positional", completes: "template", description: "ID of the template" },
    json: jsonFlag,
    address: publicAddressFlag,
  },
  async run({ args, context }) {
    const client = anonymousClient(await resolveAddress(context, args.address));
    const template = await getTemplate(client, args.id);
    if (args.json) return printJson(context.terminal, template);
    const [first = "nothing: requests are signed, which no auth type can express yet", ...others] =
      injectionOf(template);
    printFacts(context.terminal, [
      ["ID", template.id],
      ["Name", template.name],
      ...optional("Category", template.category),
      ...optional("What it is", template.description),
      ["Host", template.host],
      ["Auth type", authTypeOf(template)],
      ["Sends", first],
      ...others.map((line) => ["", line] as const),
      ["Credentials", keysOf(template).join(", ")],
      ...optional("Notes", template.notes),
      ...optional("Documentation", template.docs),
    ]);
    if (injectionOf(template).length === 0) return;
    const host = needsHost(template) ? ` --host ${template.host.replace("*", "yours")}` : "";
    note(context.terminal, "");
    note(context.terminal, `agent-vault vault service add --template ${template.id}${host}`);
    note(context.terminal, `agent-vault vault credential set ${keysOf(template).join(" ")}`);
  },
});

export const catalogCommand = command({
  meta: {
    name: "catalog",
    group: "Work",
    description: "Templates of services that need no more than a key to be added",
    details: "Without a command it lists them. vault service add --template ID adds a service from one.",
    usage: "[flags]",
    examples: [
      "agent-vault catalog search payments",
      "agent-vault catalog show stripe",
      "agent-vault vault service add --template stripe",
    ],
  },
  args: { category: categoryFlag, json: jsonFlag, address: publicAddressFlag },
  subCommands: { list: async () => list, search: async () => search, show: async () => show },
  async run({ args, context }) {
    await printTemplates(context, args, () => true);
  },
});

interface ListFlags {
  readonly category: string | undefined;
  readonly json: boolean;
  readonly address: string | undefined;
}

async function printTemplates(
  context: CliContext,
  { category, json, address }: ListFlags,
  isWanted: (template: Template) => boolean,
): Promise<void> {
  const answer = await anonymousClient(await resolveAddress(context, address)).catalog();
  if (category !== undefined) refuseUnknownCategory(answer.services, category);
  const services = answer.services.filter(
    (template) => (category === undefined || template.category === category) && isWanted(template),
  );
  if (json) return printJson(context.terminal, { ...answer, services });
  printTable(context.terminal, {
    head: ["ID", "NAME", "HOST", "AUTH TYPE", "SUGGESTED KEY"],
    rows: services.map((template) => [
      template.id,
      template.name,
      template.host,
      authTypeOf(template),
      template.suggested_credential_key ?? "-",
    ]),
    empty: answer.services.length === 0 ? "The catalog is empty." : "No template fits.",
  });
}

function refuseUnknownCategory(templates: readonly Template[], category: string): void {
  const known = [...new Set(templates.flatMap((template) => template.category ?? []))].sort();
  if (known.includes(category)) return;
  throw new UsageError("bad_flag_value", `--category cannot be "${category}"`, {
    hint: known.length > 0 ? `give --category one of ${known.join(", ")}` : "leave it out: this server has none",
  });
}

/** The address of a failed request is what people have at hand. */
function hostOfUrl(word: string): string {
  return /^https?:\/\//.test(word) && URL.canParse(word) ? new URL(word).hostname : word;
}

function fits(template: Template, word: string): boolean {
  const { id, name, host, description = "", category = "" } = template;
  const texts = [id, name, host, description, category, ...keysOf(template)];
  return texts.some((text) => text.toLowerCase().includes(word)) || isUnder(host, word);
}

/** Is `word` a host that `*.example.com` covers, one label below it? */
function isUnder(pattern: string, word: string): boolean {
  const suffix = pattern.startsWith("*.") ? (pattern.slice(1).split("/")[0] ?? "") : undefined;
  return suffix !== undefined && word.endsWith(suffix) && /^[^.]+$/.test(word.slice(0, -suffix.length));
}

function authTypeOf({ auth_type, substitutions }: Template): string {
  return `${auth_type}${substitutions?.length ? " + substitution" : ""}`;
}

function optional(label: string, value: string | undefined): readonly (readonly [string, string])[] {
  return value ? [[label, value]] : [];
}
