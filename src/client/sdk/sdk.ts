/** What the package offers. */
export { Client } from "../client.ts";
export { buildProxyEnv, type ContainerConfig } from "../proxy-env.ts";
export type { Fetch } from "../transport.ts";
export type * as wire from "../wire.ts";
export { AgentVault, type Vault } from "./agent-vault.ts";
export {
  type Agent,
  type AgentCredentials,
  Agents,
  type CreateAgentOptions,
  type InstanceRole,
  type VaultAgent,
  VaultAgents,
  type VaultRole,
} from "./agents.ts";
export type { AgentVaultConfig, ClientConfig, VaultClientConfig } from "./config.ts";
export {
  type Credential,
  Credentials,
  type ListCredentialsOptions,
  type ListCredentialsResult,
} from "./credentials.ts";
export { AgentVaultError, ApiError, type ApiErrorInit } from "./errors.ts";
export {
  type ApproveOptions,
  type CreatedProposal,
  type CreateProposalOptions,
  type Proposal,
  type ProposalCredentialSlot,
  type ProposalService,
  type ProposalStatus,
  Proposals,
  type WaitOptions,
} from "./proposals.ts";
export {
  type ApiKeyAuth,
  type BasicAuth,
  type BearerAuth,
  type ClearServicesResult,
  type CredentialUsageResult,
  type CustomAuth,
  type ListServicesResult,
  type PassthroughAuth,
  type RemoveServiceResult,
  type ReplaceAllServicesResult,
  type Service,
  type ServiceAuth,
  type ServiceInput,
  Services,
  type SetServicesResult,
  type Substitution,
  type SubstitutionSurface,
} from "./services.ts";
export { type CreateSessionOptions, type Session, type SessionInfo, Sessions } from "./sessions.ts";
export { type DiscoverResponse, type NamedVaultClient, VaultClient } from "./vault-client.ts";
