import type { KyselyPlugin } from "kysely";
import type { Database } from "../../src/storage/database.ts";

/** A database that counts the statements that are sent to it, within transactions and without. */
export function countingStatements<T extends Database>(database: T): { database: T; statements: () => number } {
  let count = 0;
  const plugin: KyselyPlugin = {
    transformQuery({ node }) {
      count += 1;
      return node;
    },
    transformResult: async ({ result }) => result,
  };
  const db = database.db.withPlugin(plugin);
  const counting: T = new Proxy(database, {
    get(real, name) {
      if (name === "db") return db;
      if (name === "transaction") {
        return (run: Parameters<Database["transaction"]>[0]) => real.transaction((tx) => run(tx.withPlugin(plugin)));
      }
      const value: unknown = Reflect.get(real, name);
      return typeof value === "function" ? value.bind(real) : value;
    },
  });
  return { database: counting, statements: () => count };
}
