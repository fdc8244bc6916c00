import type { Client } from "../../client/client.ts";
import type { CredentialEntry, OAuthConnect, OAuthStatus } from "../../client/wire.ts";
import { UsageError } from "../../errors.ts";
import { type CliContext, command, jsonFlag, yesFlag } from "../command.ts";
import { confirm } from "../confirm.ts";
import { anonymousClient, asAnyone, resolveAddress, resolveVault } from "../connect.ts";
import { formatTime, note, printFacts, printJson, printTable, success } from "../output.ts";

/** `--vault` is inherited from `vault`, so it is not in the types of these commands. */
type VaultArgs = { readonly vault?: string };

const keyArgument = { type: "positional", description: "Name of the credential" } as const;
const clientFlags = {
  "token-url": { type: "string", description: "Token endpoint of the provider" },
  "client-id": { type: "string", description: "Id of your client at the provider" },
  "client-secret-stdin": {
    type: "boolean",
    description: "Read the client's secret from the first line of standard input",
  },
  "token-auth-method": {
    type: "string",
    options: ["client_secret_post", "client_secret_basic"],
    description: "How the client proves itself to the token endpoint",
  },
} as const;

const connect = command({
  meta: {
    name: "connect",
    description: "Connect a credential at an OAuth provider",
    details:
      "Prints an address to open in a browser. After you have consented there, the page shows a code; type it here.\n" +
      "Register <address of the server>/v1/oauth/callback at the provider first. KEY alone connects once more.",
    examples: [
      'agent-vault vault credential oauth connect GITHUB --provider github --client-id Iv1.abc --scopes "repo read:org"',
      "agent-vault vault credential oauth connect GITHUB",
    ],
  },
  args: {
    key: keyArgument,
    provider: { type: "string", description: "A preset, see providers" },
    "authorization-url": { type: "string", description: "Authorization endpoint of the provider" },
    ...clientFlags,
    "public-client": { type: "boolean", description: "The client has no secret: do not ask for one" },
    scopes: { type: "string", description: "Scopes to ask for, separated as the provider wants them" },
    "scope-separator": { type: "string", description: "What separates them", shownDefault: "a blank" },
    "disable-pkce": { type: "boolean", description: "For a provider that refuses PKCE" },
    json: jsonFlag,
  },
  async run({ args, given, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const stored = await findStored(context, vault, args.key);
    const isKnown = stored?.token_url !== undefined && args.provider === undefined;
    if (!isKnown && args["client-id"] === undefined) {
      throw new UsageError(
        "missing_flag",
        `${args.key} is not an OAuth credential yet: give the provider and the client`,
        {
          hint: "--provider github --client-id ID, or --authorization-url, --token-url and --client-id",
        },
      );
    }
    const body: OAuthConnect = {
      vault,
      key: args.key,
      provider: args.provider,
      authorization_url: args["authorization-url"] ?? (isKnown ? stored.authorization_url : undefined),
      token_url: args["token-url"] ?? (isKnown ? stored.token_url : undefined),
      client_id: args["client-id"] ?? stored?.client_id,
      client_secret: await readClientSecret(context, args, isKnown ? stored.client_secret : undefined),
      scopes: args.scopes ?? (isKnown ? stored.scopes : undefined),
      scope_separator: args["scope-separator"] ?? (isKnown ? stored.scope_separator : undefined),
      disable_pkce: given.has("disable-pkce") ? args["disable-pkce"] : isKnown && (stored.disable_pkce ?? false),
      token_auth_method: args["token-auth-method"] ?? (isKnown ? stored.token_auth_method : undefined),
    };
    const answer = await asAnyone(context, {}, (client) => client.connectOAuth(body));
    if (args.json) return printJson(context.terminal, answer);
    note(context.terminal, "Open this address in a browser and consent:\n");
    context.terminal.out(`${answer.authorization_url}\n`);
    await finish(context, vault, args.key);
  },
});

/** Without a terminal the second step is a command of its own. */
async function finish(context: CliContext, vault: string, key: string): Promise<void> {
  const { terminal } = context;
  if (!terminal.isInteractive) {
    note(terminal, `\nThen: agent-vault vault credential oauth confirm ${key} CODE --vault ${vault}`);
    return;
  }
  const code = (await terminal.ask("\nCode that the page shows: ", "oauth confirm KEY CODE")).trim();
  const status = await asAnyone(context, {}, (client) =>
    code === "" ? client.oauthStatus(vault, key) : client.confirmOAuth({ vault, key, code }),
  );
  sayStatus(context, key, status);
}

interface SecretArgs {
  readonly "client-secret-stdin": boolean;
  readonly "public-client": boolean;
}

/** Never from the command line: other programs see it there. @param stored the mask of a secret that is kept. */
async function readClientSecret(
  { terminal }: CliContext,
  args: SecretArgs,
  stored: string | undefined,
): Promise<string | undefined> {
  if (args["client-secret-stdin"]) return (await terminal.readLines(1))[0] ?? "";
  if (args["public-client"]) return undefined;
  if (stored !== undefined || !terminal.isInteractive) return stored;
  return terminal.askHidden("Secret of the client (empty for none): ", "--client-secret-stdin, or --public-client");
}

async function findStored(context: CliContext, vault: string, key: string): Promise<CredentialEntry | undefined> {
  const { credentials } = await asAnyone(context, {}, (client) => client.listCredentials(vault));
  return (credentials ?? []).find((entry) => entry.key === key);
}

const confirmCode = command({
  meta: { name: "confirm", description: "Complete a connection with the code that the page shows" },
  args: { key: keyArgument, code: { type: "positional", description: "The code" }, json: jsonFlag },
  run: ({ args, context }) =>
    withStatus(context, args, (client, vault) => client.confirmOAuth({ vault, key: args.key, code: args.code })),
});

const status = command({
  meta: { name: "status", description: "Show whether a credential is connected" },
  args: { key: keyArgument, json: jsonFlag },
  run: ({ args, context }) => withStatus(context, args, (client, vault) => client.oauthStatus(vault, args.key)),
});

async function withStatus(
  context: CliContext,
  args: { readonly key: string; readonly json: boolean },
  ask: (client: Client, vault: string) => Promise<OAuthStatus>,
): Promise<void> {
  const vault = await resolveVault(context, (args as VaultArgs).vault);
  const answer = await asAnyone(context, {}, (client) => ask(client, vault));
  if (args.json) return printJson(context.terminal, answer);
  sayStatus(context, args.key, answer);
}

function sayStatus(
  { terminal }: CliContext,
  key: string,
  { connected, connected_at: at, last_error: error }: OAuthStatus,
) {
  printFacts(terminal, [
    ["Credential", key],
    ["Connected", connected ? `yes, since ${formatTime(at)}` : "no"],
    ...(error === undefined ? [] : [["Last error", error] as const]),
  ]);
}

const tokens = command({
  meta: {
    name: "tokens",
    description: "Store tokens that you got elsewhere",
    details:
      "Reads one line from standard input: the refresh token, or with --access-token an access token. A refresh token\n" +
      "needs a token endpoint, where it is tried at once; an access token alone is used until it ends.",
    examples: ["agent-vault vault credential oauth tokens GOOGLE --provider google --client-id ID < refresh-token"],
  },
  args: {
    key: keyArgument,
    "access-token": { type: "boolean", description: "The line is an access token" },
    provider: { type: "string", description: "A preset, see providers" },
    ...clientFlags,
    json: jsonFlag,
  },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const preset = args.provider === undefined ? undefined : await getPreset(context, args.provider);
    const wanted = args["client-secret-stdin"] ? ["the client's secret", "the token"] : ["the token"];
    const lines = await context.terminal.readLines(wanted.length);
    const token = lines[wanted.length - 1] ?? "";
    if (token === "") {
      throw new UsageError("input_too_short", `Standard input should hold ${wanted.join(", then ")}, one per line`);
    }
    const answer = await asAnyone(context, {}, (client) =>
      client.uploadOAuthTokens({
        vault,
        key: args.key,
        ...(args["access-token"] ? { access_token: token } : { refresh_token: token }),
        token_url: args["token-url"] ?? preset?.token_url,
        client_id: args["client-id"],
        client_secret: args["client-secret-stdin"] ? lines[0] : undefined,
        token_auth_method: args["token-auth-method"] ?? preset?.token_auth_method,
      }),
    );
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `${args.key} is connected`);
  },
});

async function getPreset(context: CliContext, id: string) {
  const { providers } = await asAnyone(context, {}, (client) => client.listOAuthProviders());
  const found = providers.find((provider) => provider.id === id);
  if (found) return found;
  throw new UsageError("oauth_provider_not_found", `There is no provider "${id}"`, {
    hint: `one of ${providers.map((provider) => provider.id).join(", ")}`,
  });
}

const disconnect = command({
  meta: {
    name: "disconnect",
    description: "Forget the tokens of a credential and keep its settings",
    details: "The provider is not told: revoke the consent there as well.",
  },
  args: { key: keyArgument, yes: yesFlag, json: jsonFlag },
  async run({ args, context }) {
    const vault = await resolveVault(context, (args as VaultArgs).vault);
    const question = `Services that use ${args.key} will stop working until it is connected again. Disconnect?`;
    if (!(await confirm(context, question, args.yes))) return;
    const answer = await asAnyone(context, {}, (client) => client.disconnectOAuth(vault, args.key));
    if (args.json) return printJson(context.terminal, answer);
    success(context.terminal, `${args.key} is disconnected`);
  },
});

const providers = command({
  meta: { name: "providers", description: "List the presets for well-known providers" },
  args: { json: jsonFlag },
  async run({ args, context }) {
    const answer = await anonymousClient(await resolveAddress(context, undefined)).listOAuthProviders();
    if (args.json) return printJson(context.terminal, answer);
    printTable(context.terminal, {
      head: ["ID", "NAME", "SCOPES THAT PEOPLE OFTEN WANT"],
      rows: answer.providers.map(({ id, name, suggested_scopes: scopes, scope_separator: separator }) => [
        id,
        name,
        scopes.slice(0, 4).join(separator) + (scopes.length > 4 ? " …" : ""),
      ]),
      empty: "The server knows no providers.",
    });
  },
});

export const oauthCommand = command({
  meta: { name: "oauth", description: "Credentials that an OAuth provider issues" },
  subCommands: {
    connect: async () => connect,
    confirm: async () => confirmCode,
    status: async () => status,
    tokens: async () => tokens,
    disconnect: async () => disconnect,
    providers: async () => providers,
  },
});
