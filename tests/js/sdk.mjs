// Sends a trace with the real OpenTelemetry SDK for JavaScript, and prints what it sent.
//
//     node sdk.mjs grpc|http/protobuf|http/json|zipkin ENDPOINT none|gzip [TENANT]
//
// ENDPOINT is host:port. It prints one line of JSON: the resource's attributes and the spans, as the SDK has them. It
// ends with an error when the exporter says that not all was taken.

import { ROOT_CONTEXT, SpanKind, SpanStatusCode, context, trace } from "@opentelemetry/api";
import { OTLPTraceExporter as GrpcExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtobufExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { ZipkinExporter } from "@opentelemetry/exporter-zipkin";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-node";
import { createRequire } from "node:module";

const [protocol, endpoint, compression, tenant] = process.argv.slice(2);
const headers = tenant ? { "X-Scope-OrgID": tenant } : {};

function exporter() {
  const url = `http://${endpoint}`;
  switch (protocol) {
    case "grpc": {
      // The same copy of grpc-js as the exporter's.
      const require = createRequire(import.meta.resolve("@opentelemetry/exporter-trace-otlp-grpc"));
      const metadata = new (require("@grpc/grpc-js").Metadata)();
      for (const [key, value] of Object.entries(headers)) metadata.set(key, value);
      return new GrpcExporter({ url, metadata, compression });
    }
    case "http/protobuf":
      return new ProtobufExporter({ url: `${url}/v1/traces`, headers, compression });
    case "http/json":
      return new JsonExporter({ url: `${url}/v1/traces`, headers, compression });
    case "zipkin":
      return new ZipkinExporter({ url: `${url}/api/v2/spans`, headers });
    default:
      throw new Error(`no such protocol: ${protocol}`);
  }
}

const kept = new InMemorySpanExporter();
const resource = resourceFromAttributes({ "service.name": "js-shop", "service.namespace": "shop", "host.cpus": 2 });
const provider = new NodeTracerProvider({ resource, spanProcessors: [new SimpleSpanProcessor(kept)] });
const tracer = provider.getTracer("shop", "1.2.3");

const outer = tracer.startSpan("GET /orders/:order", {
  kind: SpanKind.SERVER,
  attributes: {
    "http.route": "/orders/:order",
    "order.id": 7,
    "order.total": 12.5,
    "order.paid": true,
    "order.items": ["tea", "mjölk 🥛"],
  },
}, ROOT_CONTEXT);
outer.addEvent("cache miss", { "cache.key": "order-7" });
const below = trace.setSpan(context.active(), outer);
const query = tracer.startSpan("load order", { kind: SpanKind.CLIENT }, below);
query.recordException(new RangeError("no stock"));
query.setStatus({ code: SpanStatusCode.ERROR, message: "no stock" });
query.end();
tracer.startSpan("notify", { kind: SpanKind.PRODUCER, links: [{ context: query.spanContext() }] }, below).end();
outer.end();

const spans = kept.getFinishedSpans();
const sending = exporter();
const answer = await new Promise((done) => sending.export(spans, done));
await sending.shutdown();
if (answer.code !== 0) throw answer.error ?? new Error("the export failed");

const nanos = ([seconds, rest]) => String(BigInt(seconds) * 1_000_000_000n + BigInt(rest));
console.log(JSON.stringify({
  resource: resource.attributes,
  spans: spans.map((span) => ({
    trace: span.spanContext().traceId,
    id: span.spanContext().spanId,
    parent: span.parentSpanContext?.spanId ?? "",
    name: span.name,
    kind: SpanKind[span.kind],
    start: nanos(span.startTime),
    end: nanos(span.endTime),
    status: SpanStatusCode[span.status.code],
    message: span.status.message ?? "",
    attributes: span.attributes,
    events: span.events.map(({ name, attributes }) => ({ name, attributes })),
    links: span.links.map((link) => link.context.spanId),
  })),
}));
