/** Builds the rules from their means: database, keys and clock. What is built here is all that the two doors know. */
import type { Keyring } from "../crypto/keyring.ts";
import type { Logger } from "../log.ts";
import type { Outbound } from "../net/outbound.ts";
import type { Spool } from "../runtime/spool.ts";
import type { Artifacts } from "../storage/artifacts.ts";
import type { Changes } from "../storage/changes.ts";
import type { Database } from "../storage/database.ts";
import type { Ephemeral } from "../storage/ephemeral.ts";
import { Access } from "./actors/access.ts";
import { Accounts } from "./actors/account.ts";
import { Agents } from "./actors/agent.ts";
import { AgentInvites } from "./actors/agent-invite.ts";
import { Codes } from "./actors/codes.ts";
import { FailureCounters } from "./actors/failures.ts";
import { Invites } from "./actors/invite.ts";
import { PasswordGuard } from "./actors/password-guard.ts";
import { ScopedTokens } from "./actors/scoped-token.ts";
import { Scopes } from "./actors/scopes.ts";
import { Sessions } from "./actors/session.ts";
import { Setup } from "./actors/setup.ts";
import { Users } from "./actors/user.ts";
import { Audit } from "./audit/audit.ts";
import { Checkpoints } from "./audit/checkpoints.ts";
import { AuditExport } from "./audit/export.ts";
import { KeptCheckpoints } from "./audit/kept-checkpoints.ts";
import { AuditLog } from "./audit/query.ts";
import { AuthorityRotation } from "./authority-rotation.ts";
import type { Clock } from "./clock.ts";
import { Credentials } from "./credentials/credential.ts";
import { OAuthConnections } from "./credentials/oauth-connections.ts";
import { OAuthRefresher } from "./credentials/oauth-refresh.ts";
import { CredentialReminders } from "./credentials/reminders.ts";
import { CredentialResolver } from "./credentials/resolve.ts";
import { TokenEndpoint } from "./credentials/token-endpoint.ts";
import { CredentialUsage } from "./credentials/usage.ts";
import { Discovery } from "./discovery.ts";
import { Journal } from "./journal.ts";
import { JournalSpill } from "./journal-spill.ts";
import { JournalTails } from "./journal-tail.ts";
import { type LimitEnvironment, Limits } from "./limits/tiers.ts";
import { Mail, type MailTransport } from "./mail.ts";
import { ProposalEvents } from "./proposals/notify.ts";
import { Proposals } from "./proposals/proposals.ts";
import { Reviews } from "./proposals/review.ts";
import { ProposalWaiting } from "./proposals/waiting.ts";
import { Webhooks } from "./proposals/webhooks.ts";
import { Services } from "./services/services.ts";
import { Settings } from "./settings.ts";
import { Members } from "./vaults/member.ts";
import { VaultNetworkSettings } from "./vaults/network-settings.ts";
import { Snapshots } from "./vaults/snapshots.ts";
import { Vaults } from "./vaults/vault.ts";
import { VaultSettingsStore } from "./vaults/vault-settings.ts";
import { VaultWriter } from "./vaults/vault-writer.ts";

export interface DomainOptions {
  readonly database: Database;
  readonly changes: Changes;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where checkpoints of the audit log are kept besides the database. */
  readonly artifacts?: Artifacts | undefined;
  /** How token endpoints of OAuth providers are reached. */
  readonly outbound: Outbound;
  /** Where people reach the API: links in invitations, the way back from OAuth providers. */
  readonly baseUrl: string;
  readonly limits: LimitEnvironment;
  /** Where limits count. */
  readonly ephemeral: Ephemeral;
  /** AGENT_VAULT_DEV_MODE. */
  readonly allowsInternalNames: boolean;
  /** May a vault open this network for itself? None, unless it is said otherwise. */
  readonly mayOpenNetwork?: (network: string) => boolean;
  readonly mailTransport?: MailTransport | undefined;
  /** Where the journal goes while the database is away. The domain closes it. */
  readonly journalSpool?: Spool | undefined;
  /** One line where the operator of the server sees it, such as a one-time code that no mail carries. */
  readonly output: (line: string) => void;
  /** Others than this machine reach the server, so not just anybody may become its owner. */
  readonly guardsSetup?: boolean;
}

export class Domain {
  readonly access: Access;
  readonly accounts: Accounts;
  readonly agentInvites: AgentInvites;
  readonly agents: Agents;
  readonly auditExport: AuditExport;
  readonly auditLog: AuditLog;
  readonly authorityRotation: AuthorityRotation;
  readonly checkpoints: Checkpoints;
  readonly credentials: Credentials;
  readonly discovery: Discovery;
  readonly invites: Invites;
  readonly journal: Journal;
  readonly limits: Limits;
  readonly mail: Mail;
  readonly members: Members;
  readonly oauth: OAuthConnections;
  readonly oauthRefresher: OAuthRefresher;
  readonly reminders: CredentialReminders;
  readonly proposals: Proposals;
  readonly proposalEvents: ProposalEvents;
  readonly proposalWaiting: ProposalWaiting;
  readonly reviews: Reviews;
  readonly scopedTokens: ScopedTokens;
  readonly scopes: Scopes;
  readonly services: Services;
  readonly sessions: Sessions;
  readonly settings: Settings;
  readonly setup: Setup;
  readonly snapshots: Snapshots;
  readonly tails: JournalTails;
  readonly usage: CredentialUsage;
  readonly users: Users;
  readonly vaultNetworks: VaultNetworkSettings;
  readonly vaults: Vaults;
  readonly webhooks: Webhooks;
  readonly vaultSettings: VaultSettingsStore;

  constructor(options: DomainOptions) {
    const { database, changes, keyring, clock, log, baseUrl } = options;
    const writer = new VaultWriter({ database, changes, clock });
    const audit = new Audit({ changes, clock });
    this.auditLog = new AuditLog({ database });
    const kept = options.artifacts && new KeptCheckpoints(options.artifacts);
    this.checkpoints = new Checkpoints({ database, keyring, clock, log, kept });
    this.auditExport = new AuditExport({ database, changes, audit, checkpoints: this.checkpoints });
    this.authorityRotation = new AuthorityRotation({ database, changes, keyring, clock, audit });
    this.limits = new Limits({ clock, environment: options.limits, ephemeral: options.ephemeral });
    this.settings = new Settings({ database, changes, clock, audit });
    this.mail = new Mail({ transport: options.mailTransport, output: options.output, log });
    this.access = new Access({ database });
    this.sessions = new Sessions({ database, changes, clock, log, audit });
    this.scopes = new Scopes({ database, changes, sessions: this.sessions, clock });
    this.setup = new Setup({ database, keyring, isGuarded: options.guardsSetup ?? false });
    const failures = new FailureCounters({ clock });
    const codes = new Codes({ database, keyring, failures, clock, limits: this.limits });
    this.accounts = new Accounts({
      database,
      changes,
      clock,
      sessions: this.sessions,
      setup: this.setup,
      codes,
      passwordGuard: new PasswordGuard({ database, changes, audit, clock, limits: this.limits, failures }),
      settings: this.settings,
      mail: this.mail,
      audit,
    });
    this.users = new Users({ database, changes, clock, sessions: this.sessions, audit });
    this.invites = new Invites({ database, changes, clock, accounts: this.accounts, mail: this.mail, baseUrl, audit });
    this.agents = new Agents({ database, changes, clock, audit });
    this.agentInvites = new AgentInvites({ database, changes, clock, agents: this.agents, audit });
    this.scopedTokens = new ScopedTokens({ database, changes, clock, audit });
    this.members = new Members({ database, changes, clock, audit });
    this.vaults = new Vaults({ database, changes, clock, writer, audit });
    const mayOpen = options.mayOpenNetwork ?? (() => false);
    this.vaultNetworks = new VaultNetworkSettings({ database, writer, audit, mayOpen });
    this.vaultSettings = new VaultSettingsStore({ database, writer, audit });
    this.services = new Services({ database, writer, audit, allowsInternalNames: options.allowsInternalNames });
    this.credentials = new Credentials({ database, changes, keyring, writer, audit });
    const tokenEndpoint = new TokenEndpoint({ outbound: options.outbound });
    const { access } = this;
    this.oauth = new OAuthConnections({ database, keyring, writer, audit, access, tokenEndpoint, clock, log, baseUrl });
    this.oauthRefresher = new OAuthRefresher({ database, keyring, writer, tokenEndpoint, clock, log });
    this.reminders = new CredentialReminders({ database, clock, log, mail: this.mail });
    this.usage = new CredentialUsage({ database, clock, log });
    const onUse = (credentialId: string) => this.usage.note(credentialId);
    const resolver = new CredentialResolver({ keyring, clock, refresher: this.oauthRefresher, onUse });
    this.snapshots = new Snapshots({ database, changes, resolver, clock });
    this.discovery = new Discovery({ database, services: this.services });
    const spill = options.journalSpool && new JournalSpill(options.journalSpool, log);
    this.journal = new Journal({ database, clock, log, spill });
    this.tails = new JournalTails({ database, changes, journal: this.journal });
    const { outbound, allowsInternalNames } = options;
    this.webhooks = new Webhooks({
      ...{ database, changes, keyring, clock, log, audit, outbound },
      allowsPlainHttp: allowsInternalNames,
    });
    const { mail, webhooks, credentials } = this;
    this.proposalEvents = new ProposalEvents({ database, clock, mail, webhooks, log, baseUrl });
    const events = this.proposalEvents;
    this.proposals = new Proposals({ database, changes, keyring, clock, events, audit, baseUrl, allowsInternalNames });
    this.proposalWaiting = new ProposalWaiting({ changes, proposals: this.proposals });
    this.reviews = new Reviews({ database, changes, keyring, clock, log, writer, access, credentials, events, audit });
  }

  /** Lets mail under way arrive, writes down what is buffered, then forgets every value. */
  async close(): Promise<void> {
    this.tails.close();
    this.proposalWaiting.close();
    await this.proposalEvents.close();
    await this.mail.close();
    await this.journal.close();
    await this.oauthRefresher.close();
    await this.usage.flush();
    this.snapshots.close();
    this.scopes.close();
  }
}
