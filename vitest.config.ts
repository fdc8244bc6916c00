import { defineConfig } from "vitest/config";

// Three projects, by what a test needs:
//   portable  pure rules and protocol code; runs on Bun, Node and Deno
//   server    databases, sockets and TLS on the runtime that ships (Bun)
//   binary    black-box: drives dist/agent-vault with real clients
export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "portable",
          include: ["test/**/*.test.ts"],
          exclude: ["test/**/*.server.test.ts", "test/binary/**", "test/attacks/**"],
        },
      },
      { extends: true, test: { name: "server", include: ["test/**/*.server.test.ts"], exclude: ["test/binary/**"] } },
      { extends: true, test: { name: "binary", include: ["test/binary/**/*.test.ts", "test/attacks/**/*.test.ts"] } },
    ],
  },
});
