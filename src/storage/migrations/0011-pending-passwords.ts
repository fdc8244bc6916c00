import type { Migration } from "./migrations.ts";

/** The password that somebody chose with the registration which a code answers: it counts when that code comes back. */
export const pendingPasswords: Migration = {
  name: "0011-pending-passwords",
  statements: ({ bytes, integer }) => [
    `alter table one_time_codes add column password_hash ${bytes}`,
    `alter table one_time_codes add column password_salt ${bytes}`,
    `alter table one_time_codes add column kdf_time ${integer}`,
    `alter table one_time_codes add column kdf_memory ${integer}`,
    `alter table one_time_codes add column kdf_threads ${integer}`,
  ],
};
