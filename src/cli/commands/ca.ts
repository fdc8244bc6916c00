import { resolve } from "node:path";
import { NotFound } from "../../errors.ts";
import { writeAtomically } from "../../runtime/files.ts";
import { command, jsonFlag, publicAddressFlag } from "../command.ts";
import { anonymousClient, resolveAddress } from "../connect.ts";
import { note, printJson } from "../output.ts";

const fetchCa = command({
  meta: {
    name: "fetch",
    description: "Print the proxy's root certificate (PEM)",
    examples: ["agent-vault ca fetch -o agent-vault-ca.pem"],
  },
  args: {
    output: { type: "string", alias: "o", completes: "file", description: "File to write instead of standard output" },
    json: jsonFlag,
    address: publicAddressFlag,
  },
  async run({ args, context }) {
    const authority = await anonymousClient(await resolveAddress(context, args.address)).proxyAuthority();
    if (!authority) {
      throw new NotFound("proxy_disabled", "The server runs without its proxy, so it has no root certificate", {
        hint: "start the server with a --mitm-port other than 0",
      });
    }
    if (args.output === undefined) {
      if (args.json) return printJson(context.terminal, { certificate: authority.pem, mitm_port: authority.port });
      return context.terminal.out(authority.pem);
    }
    const file = resolve(context.workingDirectory, args.output);
    // Public by nature: programs of other users may need to read it.
    await writeAtomically(file, authority.pem, 0o644);
    if (args.json) return printJson(context.terminal, { file, mitm_port: authority.port });
    note(context.terminal, `The root certificate is in ${file}`);
  },
});

export const caCommand = command({
  meta: { name: "ca", group: "Work", description: "The root certificate of the proxy" },
  subCommands: { fetch: async () => fetchCa },
});
