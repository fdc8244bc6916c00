import { spawn } from "node:child_process";
import type { Answer, RecordedRequest } from "./recording-upstream.ts";

/**
 * Serves the repositories below `root` with git's own smart HTTP program, to whoever sends `authorization`;
 * everyone else gets 401, as from a private repository.
 */
export function answerWithGit(root: string, authorization: string): Answer {
  return async (request, response) => {
    if (request.values("authorization").join() !== authorization) {
      response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end("authentication required\n");
      return;
    }
    const output = await runBackend(root, request);
    const split = output.indexOf("\r\n\r\n");
    const fields = output
      .subarray(0, split)
      .toString("latin1")
      .split("\r\n")
      .map((line) => line.split(/:\s*/, 2) as [string, string]);
    const status = fields.find(([name]) => name.toLowerCase() === "status")?.[1] ?? "200";
    response.writeHead(Number.parseInt(status, 10), Object.fromEntries(fields.filter(([name]) => name !== "Status")));
    response.end(output.subarray(split + 4));
  };
}

/** RFC 3875: the head of the request in the environment, its body on standard input. */
async function runBackend(root: string, request: RecordedRequest): Promise<Buffer> {
  const [path = "", query = ""] = request.url.split("?", 2);
  const header = (name: string) => request.values(name)[0] ?? "";
  const child = spawn("git", ["http-backend"], {
    env: {
      PATH: process.env.PATH ?? "/usr/bin:/bin",
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      GIT_PROTOCOL: header("git-protocol"),
      HTTP_CONTENT_ENCODING: header("content-encoding"),
      CONTENT_TYPE: header("content-type"),
      CONTENT_LENGTH: String(request.body.length),
      PATH_INFO: path,
      QUERY_STRING: query,
      REMOTE_USER: "agent",
      REMOTE_ADDR: "127.0.0.1",
      REQUEST_METHOD: request.method,
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.end(request.body);
  const parts: Buffer[] = [];
  for await (const part of child.stdout) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
