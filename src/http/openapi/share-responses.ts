/** The document without its repetitions. */
import type { Operation, OperationResponse, Paths, Reference } from "./document-form.ts";

/** Many routes refuse in the same words: these are said once. */
export function shareResponses(paths: Paths): {
  readonly responses: Readonly<Record<string, OperationResponse>>;
  readonly shared: Paths;
} {
  const uses = new Map<string, number>();
  for (const response of operationsOf(paths).flatMap(({ responses }) => Object.values(responses))) {
    const key = JSON.stringify(response);
    uses.set(key, (uses.get(key) ?? 0) + 1);
  }
  const names = new Map<string, string>();
  const responses: Record<string, OperationResponse> = {};
  const share = ([status, response]: [string, OperationResponse | Reference]): [
    string,
    OperationResponse | Reference,
  ] => {
    const key = JSON.stringify(response);
    if ("$ref" in response || Number(status) < 400 || (uses.get(key) ?? 0) < 2) return [status, response];
    const ordinal = [...names.values()].filter((name) => name.startsWith(`Refusal${status}`)).length + 1;
    const name = names.get(key) ?? `Refusal${status}-${ordinal}`;
    names.set(key, name);
    responses[name] = response;
    return [status, { $ref: `#/components/responses/${name}` }];
  };
  const shared = Object.entries(paths).map(([path, methods]) => [
    path,
    Object.fromEntries(
      Object.entries(methods).map(([method, operation]) => [
        method,
        { ...operation, responses: Object.fromEntries(Object.entries(operation.responses).map(share)) },
      ]),
    ),
  ]);
  return { responses, shared: Object.fromEntries(shared) as Paths };
}

function operationsOf(paths: Paths): readonly Operation[] {
  return Object.values(paths).flatMap((methods) => Object.values(methods));
}
