import { request } from "node:http";
import type { BinaryServer } from "./binary.ts";

export interface ProxiedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** Sends one absolute-form request through the proxy of a server, on a connection of its own. */
export function askThroughProxy(
  server: Pick<BinaryServer, "proxyPort">,
  token: string,
  url: string,
  options: { readonly vault?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<ProxiedAnswer> {
  return new Promise((resolve, reject) => {
    const authorization = `Basic ${Buffer.from(`${token}:${options.vault ?? "default"}`).toString("base64")}`;
    const headers = { ...options.headers, "proxy-authorization": authorization, host: new URL(url).host };
    request({ host: "127.0.0.1", port: server.proxyPort, path: url, headers, agent: false }, (answer) => {
      let body = "";
      answer.on("data", (chunk: Buffer) => {
        body += chunk.toString("utf8");
      });
      answer.once("end", () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body }));
      answer.once("error", reject);
    })
      .once("error", reject)
      .end();
  });
}
