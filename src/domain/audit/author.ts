/** Who makes a change, and from where, as the audit log keeps it. */
import type { Principal } from "../actors/principal.ts";

export interface Author {
  /** `anonymous` came without a token, `operator` sat at the server's machine, `server` acts by itself. */
  readonly type: "user" | "agent" | "anonymous" | "operator" | "server";
  readonly id: string;
  /** E-mail address of a person, name of an agent. */
  readonly name: string;
  /** Public id of the session or token. */
  readonly sessionId: string;
  readonly clientIp: string;
}

/** Somebody whose change is recorded: whoever asked the API, or an author that the domain knows better. */
export type By = Principal | Author;

const nobody = { id: "", name: "", sessionId: "", clientIp: "" } as const;

/** Commands that work on the database while no server runs. */
export const operator: Author = { type: "operator", ...nobody };

/** What a server does without being asked, such as making its keys at the first start. */
export const server: Author = { type: "server", ...nobody };

/** Somebody who presented no valid token. */
export function anonymous(caller: { readonly ip: string }): Author {
  return { type: "anonymous", ...nobody, clientIp: caller.ip };
}

/** A person who has just proved who they are, by a password, a code or an invitation. */
export function person(
  user: { readonly id: string; readonly email: string },
  from: { readonly sessionId?: string; readonly ip: string },
): Author {
  return { type: "user", id: user.id, name: user.email, sessionId: from.sessionId ?? "", clientIp: from.ip };
}

/** A scoped token acts for whoever minted it; the session tells the two apart. */
export function authorOf(by: By): Author {
  if (!("kind" in by)) return by;
  const { sessionId, clientIp } = by;
  switch (by.kind) {
    case "user":
      return { type: "user", id: by.id, name: by.email, sessionId, clientIp };
    case "agent":
      return { type: "agent", id: by.id, name: by.name, sessionId, clientIp };
    case "scoped":
      return { type: by.createdBy.type, id: by.createdBy.id, name: "", sessionId, clientIp };
  }
}
