// Reads an AsyncAPI document on standard input; prints what AsyncAPI's own parser makes of it.
import { Parser } from "@asyncapi/parser";
import { text } from "node:stream/consumers";

const { document, diagnostics } = await new Parser().parse(await text(process.stdin));
const channels = document ? document.channels().all() : [];
const operations = document ? document.operations().all() : [];
console.log(
  JSON.stringify({
    diagnostics: diagnostics.map(({ severity, code, message, path }) => ({
      severity,
      code,
      message,
      path: path.join("."),
    })),
    version: document?.version(),
    addresses: Object.fromEntries(channels.map((one) => [one.id(), one.address() ?? null])),
    operations: Object.fromEntries(
      operations.map((one) => [
        one.id(),
        {
          action: one.action(),
          mqtt: one.bindings().get("mqtt")?.value(),
          messages: one.messages().all().map((message) => message.name()),
        },
      ]),
    ),
    messages: Object.fromEntries(
      (document ? document.components().messages().all() : []).map((one) => [
        one.id(),
        one.hasPayload() ? Object.keys(one.payload().json().properties ?? {}) : null,
      ]),
    ),
  }),
);
