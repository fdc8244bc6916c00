/** The server's own rules for what a file may say, so that a mistake is found before anything is changed. */
import { InvalidInput } from "../../errors.ts";
import { serviceFields } from "../service-file.ts";
import type { WireService } from "./manifest.ts";

export interface ServiceRules {
  /**
   * A service as the server would give it back, so that two spellings of the same compare equal. Fields that only a
   * newer server knows stay. @throws {InvalidInput} `invalid_service`.
   */
  canonical(service: Readonly<Record<string, unknown>>): WireService;
  /** The credentials that services name; those of a service that only a newer server understands are not known. */
  neededKeys(services: readonly WireService[]): readonly string[];
  /** Which rule a vault's name breaks, as the rest of a sentence about it. */
  nameProblem(name: string): string | undefined;
  isCredentialKey(text: string): boolean;
}

/** Loads them when they are needed: the rest of the command line does without the inside of the server. */
export async function loadServiceRules(): Promise<ServiceRules> {
  const [{ formatService, parseService, referencedKeys }, { slugProblem }, { isCredentialKey }] = await Promise.all([
    import("../../domain/services/definition.ts"),
    import("../../domain/slug.ts"),
    import("../../domain/credentials/key.ts"),
  ]);
  const parse = (service: unknown) => parseService(service, { allowsInternalNames: true });
  return {
    canonical(service) {
      const foreign = Object.entries(service).filter(([field]) => !serviceFields.includes(field));
      const known: Record<string, unknown> = formatService(parse(service));
      return { ...known, ...Object.fromEntries(foreign), name: String(known.name) };
    },
    neededKeys(services) {
      const keys = services.flatMap((service) => {
        try {
          return referencedKeys(parse(service));
        } catch (error) {
          if (error instanceof InvalidInput) return [];
          throw error;
        }
      });
      return [...new Set(keys)].sort();
    },
    nameProblem: slugProblem,
    isCredentialKey,
  };
}
