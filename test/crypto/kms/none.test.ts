import { noKeyProvider } from "../../../src/crypto/kms/none.ts";
import { describeKeyProvider } from "../../conformance/key-provider.ts";

describeKeyProvider({ name: "none", open: async () => noKeyProvider });
