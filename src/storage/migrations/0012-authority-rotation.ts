/**
 * Two roots at a time. A root is `next` (made, and trusted before it is used), `active` (it signs) or `retired` (still
 * trusted), one of each at most; and there may be a time at which it goes on by itself.
 */
import type { Migration } from "./migrations.ts";

export const authorityRotation: Migration = {
  name: "0012-authority-rotation",
  statements: ({ timestamp, integer }) => [
    `alter table authorities add column due_at ${timestamp}`,
    `alter table authorities add column overlap_seconds ${integer}`,
    `create unique index authorities_one_next on authorities (state) where state = 'next'`,
    `create unique index authorities_one_retired on authorities (state) where state = 'retired'`,
  ],
};
