/** Chromium, as a person uses it: with its cookies, its same-origin policy and its ideas of what a site is. */
import { type Browser, type BrowserContext, chromium } from "playwright-core";

export type { BrowserContext, Page } from "playwright-core";

const flags = [
  // Tests run as root, where the sandbox of Chromium refuses to start.
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Every name leads to this machine: a page of any site can be served here, and any name can be rebound to it.
  "--host-resolver-rules=MAP * 127.0.0.1",
];

/** A browser whose every name leads to this machine, and which takes the certificates of the tests. */
export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async launch(): Promise<TestBrowser> {
    const executablePath = process.env.AGENT_VAULT_TEST_CHROMIUM ?? "/usr/bin/chromium";
    return new TestBrowser(await chromium.launch({ executablePath, args: flags }));
  }

  /** Somebody with a browser of their own: no cookies yet. */
  person(): Promise<BrowserContext> {
    return this.#browser.newContext({ ignoreHTTPSErrors: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}
