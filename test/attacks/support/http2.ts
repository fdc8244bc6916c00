import { once } from "node:events";
import { connect } from "node:net";
import { Http2Client, requestFieldsFor } from "../../support/http2-client.ts";
import { hosts, type Stage } from "./stage.ts";

/** A connection inside of a tunnel that speaks HTTP/2, frame by frame. */
export async function openHttp2(stage: Stage, options: { readonly opensWindows?: boolean } = {}): Promise<Http2Client> {
  const socket = connect({ host: "127.0.0.1", port: stage.server.proxyPort, noDelay: true });
  await once(socket, "connect");
  const credentials = Buffer.from(`${stage.token}:default`).toString("base64");
  const authority = authorityOf(stage);
  socket.write(
    `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`,
  );
  const [answer] = (await once(socket, "data")) as [Buffer];
  if (!answer.toString("latin1").startsWith("HTTP/1.1 200 ")) throw new Error(answer.toString("latin1"));
  return await Http2Client.secure(socket, { servername: hosts.api, ca: stage.ca, ...options });
}

export function authorityOf(stage: Stage): string {
  return `${hosts.api}:${stage.secure.port}`;
}

export function get(stage: Stage, path: string, ...more: string[]): string[] {
  return requestFieldsFor(authorityOf(stage), path, more);
}

export function post(stage: Stage, path: string, ...more: string[]): string[] {
  return requestFieldsFor(authorityOf(stage), path, more, "POST");
}
