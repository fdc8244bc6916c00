/** The link that a guarded server prints while it has no owner: it lets a browser register the first account. */
import type { Accounts } from "../../domain/actors/account.ts";
import type { Setup } from "../../domain/actors/setup.ts";
import { Forbidden } from "../../errors.ts";
import type { SetupCookie } from "../authenticate.ts";
import { openSetupLink } from "../contracts/instance.ts";
import type { ApiRouter } from "../router.ts";

export interface SetupDependencies {
  readonly accounts: Accounts;
  readonly setup: Setup;
  readonly setupCookie: SetupCookie;
}

export function registerSetupRoutes(router: ApiRouter, { accounts, setup, setupCookie }: SetupDependencies): void {
  router.on(openSetupLink, async (request) => {
    if (await accounts.isInitialized()) return seeOther("/login", {});
    const secret = request.params.secret;
    if (!(await setup.accepts(secret))) {
      throw new Forbidden("setup_secret_wrong", "This is not the setup link of this server");
    }
    return seeOther("/register", { "set-cookie": setupCookie.set(secret) });
  });
}

function seeOther(location: string, headers: Readonly<Record<string, string>>): Response {
  return new Response(null, { status: 303, headers: { location, "cache-control": "no-store", ...headers } });
}
