import { it } from "vitest";

/** What a file of the gallery says of itself at its top. The ledger of the documentation is made of it. */
export interface Declaration {
  /** What the attacker is after: `the credential sent to a path that …`. */
  readonly wants: string;
}

export interface KnownLeakDeclaration extends Declaration {
  /** What it means for who runs the broker, and what can be done about it meanwhile. */
  readonly consequence: string;
}

/** The attack is tried by the tests of this file, and gets nothing in any of them. */
export function defended({ wants }: Declaration): void {
  refuseEmpty(wants);
}

/** A test that tries the attack and says whether the attacker got what they want. */
export type Attempt = () => Promise<boolean>;

/**
 * The attack works, and we know. Its tests fail on the day on which it works no more, so that what is written about it
 * stays true: then declare it `defended`, turn the attempts into expectations, and take it off the known gaps.
 */
export function knownLeak({ wants, consequence }: KnownLeakDeclaration) {
  refuseEmpty(wants);
  refuseEmpty(consequence);
  return {
    /** Whatever `attempt` throws fails the test as well: a stage that fell over is no leak. */
    stillLeaks: (name: string, attempt: Attempt): void => {
      it(`${name} (known leak)`, async () => {
        if (!(await attempt())) throw new Error(`This leak is closed: declare it defended in ${closedHint}`);
      });
    },
  };
}

const closedHint = "this file, run `npm run ledger`, and remove it from the known gaps of docs/security-model.md";

function refuseEmpty(text: string): void {
  if (text.trim() === "") throw new Error("A declaration of the attack gallery says nothing");
}
