import { describe, expect, it } from "vitest";
import { headerTemplates } from "../src/domain/services/auth.ts";
import { parseService } from "../src/domain/services/definition.ts";
import { listAssets } from "../src/runtime/assets.ts";
import { readTemplate, seedService } from "./support/catalog.ts";

/**
 * What the documentation of each provider asks for, where it is one header made of one credential. Read over by
 * a person, not fetched: it guards the templates against edits. KEY is the value of the suggested credential, USER that of the user name.
 */
const documented: Readonly<Record<string, string>> = {
  "Authorization: Bearer KEY": `
    ai21 airtable apify apify-mcp asana attio auth0 axiom betterstack bitbucket box brightdata buildkite
    cal-com calendly cerebras civo clerk cloudflare cockroachdb coda codecov cohere contentful 
    customer-io dashscope databricks deepinfra deepseek digitalocean dnsimple doppler dropbox dropbox-content
    firecrawl firehydrant fireworks fly front gandi genius github github-mcp github-models 
    github-uploads gmail google-calendar google-docs google-drive google-sheets grafana-cloud groq heroku
    hetzner hubspot huggingface incident-io intercom ipinfo jina koyeb lemonsqueezy line linkup linode
    llamacloud loops luma mailersend meta-graph microsoft-graph minimax miro mistral mollie moonshot
    neon netlify northflank notion novita npm npmgh ntfy nvidia ollama openai openrouter paddle paypal
    perplexity pingdom pipedream plausible polar posthog posthog-eu quickbooks railway reddit render
    replicate resend revenuecat rootly runpod runway salesforce sambanova sanity segment semgrep
    sendgrid sentry siliconflow slack smartsheet sonarcloud speechmatics spotify square stability strava
    stripe supabase-management tailscale tavily telnyx terraform-cloud tmdb todoist together turso
    typeform upstage upstash-redis vercel vercel-ai-gateway voyage vultr webflow wise workos wrike
    writer x xai zai zoom`,
  "Authorization: Basic USER:KEY": `
    azure-devops confluent fivetran jira langfuse mailgun mailgun-eu mailjet plivo pypi razorpay stytch
    twilio zendesk`,
  "AccessKey: KEY": "bunny",
  "api-key: KEY": "azure-openai brevo",
  "Api-Key: KEY": "ideogram pinecone",
  "API-Key: KEY": "newrelic newrelic-eu",
  "apikey: KEY": "supabase",
  "Authorization: Api-Key KEY": "baseten",
  "Authorization: ApiKey KEY": "elastic-cloud",
  "Authorization: apikey KEY": "qdrant",
  "Authorization: Bot KEY": "discord kagi",
  "Authorization: Client-ID KEY": "unsplash",
  "Authorization: DeepL-Auth-Key KEY": "deepl",
  "Authorization: GenieKey KEY": "opsgenie",
  "Authorization: KEY": "assemblyai clickup launchdarkly linear monday pexels sparkpost",
  "Authorization: Key KEY": "fal",
  "Authorization: Klaviyo-API-Key KEY": "klaviyo",
  "Authorization: OAuth KEY": "statuspage",
  "Authorization: SSWS KEY": "okta",
  "Authorization: Token KEY": "buttondown dbt-cloud deepgram mem0 readwise",
  "Authorization: token KEY": "codeberg pulumi snyk sourcegraph",
  "Circle-Token: KEY": "circleci",
  "DD-API-KEY: KEY": "datadog datadog-eu",
  "Fastly-Key: KEY": "fastly",
  "hibp-api-key: KEY": "haveibeenpwned",
  "Key: KEY": "abuseipdb",
  "key: KEY": "greynoise",
  "PRIVATE-TOKEN: KEY": "gitlab",
  "Shortcut-Token: KEY": "shortcut",
  "STATSIG-API-KEY: KEY": "statsig",
  "steel-api-key: KEY": "steel",
  "x-api-key: KEY": "anthropic apollo composio exa hyperbrowser langsmith parallel",
  "X-Api-Key: KEY": "clockify heygen newsapi people-data-labs remove-bg",
  "X-API-KEY: KEY": "serper",
  "x-api-token: KEY": "pipedrive",
  "x-apikey: KEY": "virustotal",
  "X-Auth-Token: KEY": "scaleway",
  "X-BB-API-Key: KEY": "browserbase",
  "x-cg-pro-api-key: KEY": "coingecko",
  "x-chroma-token: KEY": "chroma",
  "X-Figma-Token: KEY": "figma",
  "X-Finnhub-Token: KEY": "finnhub",
  "x-gladia-key: KEY": "gladia",
  "x-goog-api-key: KEY": "gemini",
  "X-Goog-Api-Key: KEY": "google-places youtube",
  "X-Honeycomb-Team: KEY": "honeycomb",
  "X-Hume-Api-Key: KEY": "hume",
  "x-key: KEY": "bfl",
  "X-Kit-Api-Key: KEY": "kit",
  "x-portkey-api-key: KEY": "portkey",
  "X-Postmark-Server-Token: KEY": "postmark",
  "X-Rollbar-Access-Token: KEY": "rollbar",
  "X-Shopify-Access-Token: KEY": "shopify",
  "X-Subscription-Token: KEY": "brave-search",
  "xi-api-key: KEY": "elevenlabs",
};

/** What needs several headers or credentials, or puts them into the URL. */
const documentedOthers: Readonly<
  Record<string, { readonly headers: readonly string[]; readonly placeholders: readonly string[] }>
> = {
  "alpha-vantage": inQuery("__ALPHAVANTAGE_API_KEY__"),
  "google-maps": inQuery("__GOOGLE_MAPS_API_KEY__"),
  mapbox: inQuery("__MAPBOX_ACCESS_TOKEN__"),
  nasa: inQuery("__NASA_API_KEY__"),
  openweathermap: inQuery("__OPENWEATHER_API_KEY__"),
  serpapi: inQuery("__SERPAPI_API_KEY__"),
  shodan: inQuery("__SHODAN_API_KEY__"),
  trello: inQuery("__TRELLO_API_KEY__", "__TRELLO_TOKEN__"),
  "wolfram-alpha": inQuery("__WOLFRAM_APP_ID__"),
  telegram: { headers: [], placeholders: ["path: __TELEGRAM_BOT_TOKEN__"] },
  algolia: inHeaders("X-Algolia-API-Key: <ALGOLIA_API_KEY>", "X-Algolia-Application-Id: <ALGOLIA_APPLICATION_ID>"),
  checkly: inHeaders("Authorization: Bearer <CHECKLY_API_KEY>", "X-Checkly-Account: <CHECKLY_ACCOUNT_ID>"),
  godaddy: inHeaders("Authorization: sso-key <GODADDY_API_KEY>:<GODADDY_API_SECRET>"),
  harvest: inHeaders("Authorization: Bearer <HARVEST_ACCESS_TOKEN>", "Harvest-Account-Id: <HARVEST_ACCOUNT_ID>"),
  pagerduty: inHeaders("Authorization: Token token=<PAGERDUTY_TOKEN>"),
  planetscale: inHeaders("Authorization: <PLANETSCALE_SERVICE_TOKEN_ID>:<PLANETSCALE_SERVICE_TOKEN>"),
  twitch: inHeaders("Authorization: Bearer <TWITCH>", "Client-Id: <TWITCH_CLIENT_ID>"),
  xero: inHeaders("Authorization: Bearer <XERO_ACCESS_TOKEN>", "Xero-Tenant-Id: <XERO_TENANT_ID>"),
};

/** Request signing with two keys is beyond what a template can say. */
const inexpressible = ["aws-s3"];

const simple = Object.entries(documented).flatMap(([form, ids]) =>
  ids
    .trim()
    .split(/\s+/)
    .map((id) => ({ id, form })),
);

describe("what a service from a template sends", () => {
  it.each(simple)("is $form for $id", ({ id, form }) => {
    const { suggested_credential_key: key, suggested_username_key: username } = readTemplate(id);
    const values: Record<string, string> = { [key]: "the-key", ...(username && { [username]: "the-user" }) };
    const [name = "", value = ""] = form.replace(/KEY$/, "the-key").replace("USER:", "the-user:").split(": ");
    const expected = value.startsWith("Basic ") ? `Basic ${btoa(value.slice(6))}` : value;
    expect(sentBy(id, (named) => values[named] ?? "?")).toEqual({
      headers: [`${name}: ${expected}`],
      placeholders: [],
    });
  });

  it.each(Object.entries(documentedOthers))("is what %s documents", (id, form) => {
    expect(sentBy(id, (key) => `<${key}>`)).toEqual(form);
  });

  it("is said here for every template", () => {
    const said = [...simple.map(({ id }) => id), ...Object.keys(documentedOthers), ...inexpressible];
    const ids = listAssets("catalog").map((file) => file.replace(/\.json$/, ""));
    expect(said.toSorted()).toEqual(ids.filter((id) => id !== "schema").toSorted());
  });
});

function sentBy(id: string, reveal: (key: string) => string) {
  const { auth, substitutions } = parseService(seedService(readTemplate(id)), { allowsInternalNames: false });
  return {
    headers: headerTemplates(auth).map(({ name, render }) => `${name}: ${render(reveal)}`),
    placeholders: substitutions.map((each) => `${[...each.in].join(",")}: ${each.placeholder}`),
  };
}

function inQuery(...placeholders: readonly string[]) {
  return { headers: [], placeholders: placeholders.map((placeholder) => `query: ${placeholder}`) };
}

function inHeaders(...headers: readonly string[]) {
  return { headers, placeholders: [] };
}
