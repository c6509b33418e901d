"""A small FastAPI application, instrumented with the real OpenTelemetry SDK, that serves a few requests and exports.

    python fastapi_app.py grpc|http ENDPOINT SERVICE

It prints one JSON line: the trace id, route and HTTP status of each request that it served.
"""

import json
import os
import sys

from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode


# With the standard's variables for certificates, which the exporters read themselves, TLS is spoken.
SECURE = "OTEL_EXPORTER_OTLP_CERTIFICATE" in os.environ


def exporter(protocol: str, endpoint: str):
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=endpoint, insecure=not SECURE)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    scheme = "https" if SECURE else "http"
    return OTLPSpanExporter(endpoint=f"{scheme}://{endpoint}/v1/traces")


def application(served: list) -> FastAPI:
    app = FastAPI()
    tracer = trace.get_tracer("shop", "1.2.3")

    def note(route: str, status: int) -> None:
        context = trace.get_current_span().get_span_context()
        served.append({"trace": f"{context.trace_id:032x}", "route": route, "status": status})

    @app.get("/orders/{order}")
    def order(order: int):
        note("/orders/{order}", 200)
        with tracer.start_as_current_span("load order") as span:
            span.set_attribute("order.id", order)
            span.set_attribute("order.items", ["tea", "milk"])
            span.set_attribute("order.total", 12.5)
            span.add_event("cache miss", {"cache.key": f"order-{order}"})
        return {"order": order}

    @app.get("/broken")
    def broken():
        note("/broken", 500)
        with tracer.start_as_current_span("fail") as span:
            try:
                raise ValueError("no stock")
            except ValueError as error:
                span.record_exception(error)
                span.set_status(Status(StatusCode.ERROR, "no stock"))
        raise HTTPException(status_code=500)

    return app


def main() -> None:
    protocol, endpoint, service = sys.argv[1:]
    resource = Resource.create(
        {"service.name": service, "service.namespace": "shop", "k8s.namespace.name": "prod"}
    )
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter(protocol, endpoint)))
    trace.set_tracer_provider(provider)
    served: list = []
    app = application(served)
    FastAPIInstrumentor.instrument_app(app)
    client = TestClient(app, raise_server_exceptions=False)
    for number in range(3):
        assert client.get(f"/orders/{number}").status_code == 200
    assert client.get("/broken").status_code == 500
    assert provider.force_flush(), "the spans were not taken"
    provider.shutdown()
    print(json.dumps(served))


if __name__ == "__main__":
    main()
