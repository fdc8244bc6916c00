/** What the messages say, in text and in HTML. Everything that varies is escaped where HTML would read it. */

export type Message =
  | { readonly kind: "verification" | "password-reset"; readonly to: string; readonly code: string }
  | {
      readonly kind: "invitation";
      readonly to: string;
      /** Address of a person, or name of an agent. */
      readonly inviter: string;
      readonly vaults: readonly string[];
      readonly link: string;
    }
  | {
      readonly kind: "proposal";
      readonly to: string;
      readonly vault: string;
      readonly agent: string;
      /** Its number within the vault. */
      readonly number: number;
      /** What the agent says about it; the beginning is shown. */
      readonly message: string;
      readonly link: string;
    }
  | {
      readonly kind: "credential-expiry";
      readonly to: string;
      readonly vault: string;
      readonly credentials: readonly ExpiringCredential[];
    }
  | { readonly kind: "test"; readonly to: string };

export interface ExpiringCredential {
  readonly key: string;
  readonly expiresAt: string;
  readonly hasEnded: boolean;
}

export interface Content {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

/** Paragraphs of a message; a code or a link stands alone. */
type Block =
  | { readonly kind: "words"; readonly text: string }
  | { readonly kind: "code"; readonly code: string }
  | { readonly kind: "link"; readonly label: string; readonly href: string };

const excerptLength = 200;
/** Credentials that one message names. */
const maxListed = 50;

export function renderMessage(message: Message): Content {
  const { subject, blocks } = describeMessage(message);
  return {
    subject,
    text: `${blocks.map(textOf).join("\n\n")}\n`,
    html: page(subject, blocks.map(htmlOf).join("\n")),
  };
}

function describeMessage(message: Message): { readonly subject: string; readonly blocks: readonly Block[] } {
  switch (message.kind) {
    case "verification":
      return {
        subject: "Your verification code",
        blocks: [
          words("Enter this code to finish your registration with Agent Vault:"),
          { kind: "code", code: message.code },
          words(
            "It is valid for 15 minutes. If you did not register, ignore this message: nothing happens without it.",
          ),
        ],
      };
    case "password-reset":
      return {
        subject: "Your password reset code",
        blocks: [
          words("Enter this code to choose a new password for Agent Vault:"),
          { kind: "code", code: message.code },
          words("It is valid for 15 minutes. If you did not ask for it, ignore this message: your password stays."),
        ],
      };
    case "invitation":
      return {
        subject: "You are invited to Agent Vault",
        blocks: [
          words(`${message.inviter} invites you to Agent Vault.`),
          words(`Vaults: ${message.vaults.join(", ") || "none yet"}`),
          { kind: "link", label: "Accept the invitation", href: message.link },
          words("The link is valid for 48 hours and for you alone: whoever has it can accept in your place."),
        ],
      };
    case "proposal":
      return {
        subject: `New proposal (#${message.number}) in vault "${message.vault}"`,
        blocks: [
          words(`The agent ${message.agent} proposes a change to the vault "${message.vault}" (#${message.number}).`),
          ...(message.message === "" ? [] : [words(excerpt(message.message))]),
          { kind: "link", label: "Review the proposal", href: message.link },
          words("Nothing changes before somebody approves it."),
        ],
      };
    case "credential-expiry": {
      const lines = message.credentials.slice(0, maxListed).map(({ key, expiresAt, hasEnded }) => {
        return words(`${key}: ${hasEnded ? "ended" : "ends"} on ${expiresAt}`);
      });
      const more = message.credentials.length - lines.length;
      return {
        subject: `Credentials of the vault "${message.vault}" end`,
        blocks: [
          words(`These credentials of the vault "${message.vault}" have ended, or end soon:`),
          ...lines,
          ...(more > 0 ? [words(`and ${more} more.`)] : []),
          words("Requests that need one fail once it has ended. Store a new value before."),
        ],
      };
    }
    case "test":
      return {
        subject: "Test message",
        blocks: [words("This is a test message of Agent Vault. The server can send mail.")],
      };
  }
}

function words(text: string): Block {
  return { kind: "words", text: oneLine(text) };
}

/** What an agent wrote must not look like lines of ours. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, " ").trim();
}

function excerpt(text: string): string {
  const characters = [...oneLine(text)];
  return characters.length <= excerptLength ? characters.join("") : `${characters.slice(0, excerptLength).join("")}...`;
}

function textOf(block: Block): string {
  switch (block.kind) {
    case "words":
      return block.text;
    case "code":
      return `    ${block.code}`;
    case "link":
      return `${block.label}:\n${block.href}`;
  }
}

function htmlOf(block: Block): string {
  switch (block.kind) {
    case "words":
      return `<p>${escapeHtml(block.text)}</p>`;
    case "code":
      return `<p style="font-size:24px;letter-spacing:4px"><code>${escapeHtml(block.code)}</code></p>`;
    case "link": {
      const href = escapeHtml(block.href);
      // The address is shown as well: people should see where a link leads.
      return `<p><a href="${href}">${escapeHtml(block.label)}</a></p>\n<p><code>${href}</code></p>`;
    }
  }
}

function page(title: string, body: string): string {
  return [
    "<!doctype html>",
    `<html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title></head>`,
    '<body style="font-family:sans-serif;font-size:16px;line-height:1.5;max-width:560px">',
    body,
    "</body></html>",
    "",
  ].join("\n");
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}
