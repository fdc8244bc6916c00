/** Builds the rules from their means: database, keys and clock. What is built here is all that the two doors know. */
import type { Keyring } from "../crypto/keyring.ts";
import type { Logger } from "../log.ts";
import type { Changes } from "../storage/changes.ts";
import type { Database } from "../storage/database.ts";
import { Access } from "./actors/access.ts";
import { Accounts } from "./actors/account.ts";
import { Agents } from "./actors/agent.ts";
import { Codes } from "./actors/codes.ts";
import { Invites } from "./actors/invite.ts";
import { ScopedTokens } from "./actors/scoped-token.ts";
import { Scopes } from "./actors/scopes.ts";
import { Sessions } from "./actors/session.ts";
import { Users } from "./actors/user.ts";
import { Audit } from "./audit/audit.ts";
import { Checkpoints } from "./audit/checkpoints.ts";
import { AuditExport } from "./audit/export.ts";
import { AuditLog } from "./audit/query.ts";
import type { Clock } from "./clock.ts";
import { Credentials } from "./credentials/credential.ts";
import { Discovery } from "./discovery.ts";
import { Journal } from "./journal.ts";
import { type LimitEnvironment, Limits } from "./limits/tiers.ts";
import { Mail, type MailTransport } from "./mail.ts";
import { Services } from "./services/services.ts";
import { Settings } from "./settings.ts";
import { Members } from "./vaults/member.ts";
import { Snapshots } from "./vaults/snapshots.ts";
import { Vaults } from "./vaults/vault.ts";
import { VaultWriter } from "./vaults/vault-writer.ts";

export interface DomainOptions {
  readonly database: Database;
  readonly changes: Changes;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where people reach the API: links in invitations. */
  readonly baseUrl: string;
  readonly limits: LimitEnvironment;
  /** AGENT_VAULT_DEV_MODE. */
  readonly allowsInternalNames: boolean;
  readonly mailTransport?: MailTransport | undefined;
  /** One line where the operator of the server sees it, such as a one-time code that no mail carries. */
  readonly output: (line: string) => void;
}

export class Domain {
  readonly access: Access;
  readonly accounts: Accounts;
  readonly agents: Agents;
  readonly auditExport: AuditExport;
  readonly auditLog: AuditLog;
  readonly checkpoints: Checkpoints;
  readonly credentials: Credentials;
  readonly discovery: Discovery;
  readonly invites: Invites;
  readonly journal: Journal;
  readonly limits: Limits;
  readonly mail: Mail;
  readonly members: Members;
  readonly scopedTokens: ScopedTokens;
  readonly scopes: Scopes;
  readonly services: Services;
  readonly sessions: Sessions;
  readonly settings: Settings;
  readonly snapshots: Snapshots;
  readonly users: Users;
  readonly vaults: Vaults;

  constructor(options: DomainOptions) {
    const { database, changes, keyring, clock, log, baseUrl } = options;
    const writer = new VaultWriter({ database, changes, clock });
    const audit = new Audit({ changes, clock });
    this.auditLog = new AuditLog({ database });
    this.checkpoints = new Checkpoints({ database, keyring, clock, log });
    this.auditExport = new AuditExport({ database, changes, audit, checkpoints: this.checkpoints });
    this.limits = new Limits({ clock, environment: options.limits });
    this.settings = new Settings({ database, changes, clock, audit });
    this.mail = new Mail({ transport: options.mailTransport, output: options.output, log });
    this.access = new Access({ database });
    this.sessions = new Sessions({ database, changes, clock, log, audit });
    this.scopes = new Scopes({ database, changes, sessions: this.sessions, clock });
    const codes = new Codes({ keyring, clock, limits: this.limits });
    this.accounts = new Accounts({
      database,
      changes,
      clock,
      sessions: this.sessions,
      codes,
      settings: this.settings,
      mail: this.mail,
      audit,
    });
    this.users = new Users({ database, changes, clock, sessions: this.sessions, audit });
    this.invites = new Invites({ database, changes, clock, accounts: this.accounts, mail: this.mail, baseUrl, audit });
    this.agents = new Agents({ database, changes, clock, audit });
    this.scopedTokens = new ScopedTokens({ database, changes, clock, audit });
    this.members = new Members({ database, changes, clock, audit });
    this.vaults = new Vaults({ database, changes, clock, writer, audit });
    this.services = new Services({ database, writer, audit, allowsInternalNames: options.allowsInternalNames });
    this.credentials = new Credentials({ database, changes, keyring, writer, audit });
    this.snapshots = new Snapshots({ database, changes, keyring, clock });
    this.discovery = new Discovery({ database, services: this.services });
    this.journal = new Journal({ database, log });
  }

  /** Writes down what is buffered, then forgets every value. */
  async close(): Promise<void> {
    await this.journal.close();
    this.snapshots.close();
    this.scopes.close();
  }
}
