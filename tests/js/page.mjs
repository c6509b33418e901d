// What a page does, bundled to page.js: it sends one span with the real OpenTelemetry SDK for browsers, and says to where
// the page came from what it sent and whether it was taken.
//
//     page.html?to=HOST:PORT&with=fetch|beacon[&tenant=TENANT]

import { SpanKind } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { InMemorySpanExporter, SimpleSpanProcessor, WebTracerProvider } from "@opentelemetry/sdk-trace-web";
import { JsonTraceSerializer } from "@opentelemetry/otlp-transformer";

const asked = new URLSearchParams(location.search);
const url = `http://${asked.get("to")}/v1/traces`;

const kept = new InMemorySpanExporter();
const resource = resourceFromAttributes({ "service.name": "browser-shop", "browser.page": location.pathname });
const provider = new WebTracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor(kept)] });
const span = provider.getTracer("page").startSpan("click", { kind: SpanKind.CLIENT, attributes: { "click.x": 12 } });
span.end();

// The exporter itself sends with fetch. A page that is being left sends with a beacon, which carries credentials.
const ways = {
  async fetch() {
    const tenant = asked.get("tenant");
    const exporter = new OTLPTraceExporter({ url, headers: tenant ? { "X-Scope-OrgID": tenant } : {} });
    const answer = await new Promise((done) => exporter.export(kept.getFinishedSpans(), done));
    return answer.code === 0 ? "taken" : `refused: ${answer.error}`;
  },
  async beacon() {
    const body = JsonTraceSerializer.serializeRequest(kept.getFinishedSpans());
    return navigator.sendBeacon(url, new Blob([body], { type: "application/json" })) ? "queued" : "refused";
  },
};
const said = await ways[asked.get("with")]().catch((error) => `refused: ${error}`);
await fetch("/said", { method: "POST", body: `${span.spanContext().traceId} ${said}` });
