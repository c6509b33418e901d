"""Sends two spans, `outer` and below it `inner`, of the service `py-shop` with a real client of Zipkin or Jaeger.

    python senders.py zipkin-v1-thrift|zipkin-v1-json|zipkin-v2-json|zipkin-v2-proto|jaeger PORT

It prints the trace id in hexadecimal as its last line, or `skipped: WHY` when the client cannot do it.
"""

import sys
import time
import urllib.request


def zipkin(form: str, port: str) -> str:
    try:
        from py_zipkin import Encoding, Kind
        from py_zipkin.encoding import create_endpoint  # noqa: F401
        from py_zipkin.util import generate_random_64bit_string
        from py_zipkin.zipkin import ZipkinAttrs, zipkin_span
    except ImportError as error:
        return f"skipped: py_zipkin cannot be imported: {error}"
    names = {
        "zipkin-v1-thrift": ("V1_THRIFT", "v1", "application/x-thrift"),
        "zipkin-v1-json": ("V1_JSON", "v1", "application/json"),
        "zipkin-v2-json": ("V2_JSON", "v2", "application/json"),
        "zipkin-v2-proto": ("V2_PROTO3", "v2", "application/x-protobuf"),
    }
    name, version, content_type = names[form]
    encoding = getattr(Encoding, name, None)
    if encoding is None:
        return f"skipped: this py_zipkin has no {name}"

    def send(body):
        body = body if isinstance(body, bytes) else body.encode()
        url = f"http://127.0.0.1:{port}/api/{version}/spans"
        request = urllib.request.Request(url, body, {"content-type": content_type})
        assert urllib.request.urlopen(request).status == 202

    trace = generate_random_64bit_string()
    attributes = ZipkinAttrs(trace, generate_random_64bit_string(), None, "0", True)
    with zipkin_span(
        service_name="py-shop",
        span_name="outer",
        transport_handler=send,
        encoding=encoding,
        zipkin_attrs=attributes,
        kind=Kind.SERVER,
        binary_annotations={"key": "value"},
    ):
        with zipkin_span(service_name="py-shop", span_name="inner", kind=Kind.CLIENT):
            pass
    return trace


def jaeger(port: str) -> str:
    try:
        from jaeger_client import Config
    except ImportError as error:
        return f"skipped: jaeger-client cannot be imported: {error}"
    settings = {
        "sampler": {"type": "const", "param": 1},
        "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": int(port)},
    }
    try:
        tracer = Config(config=settings, service_name="py-shop", validate=True).initialize_tracer()
    except (AttributeError, TypeError, ImportError) as error:
        return f"skipped: jaeger-client does not run on this Python: {error}"
    with tracer.start_span("outer", tags={"span.kind": "server", "key": "value"}) as outer:
        with tracer.start_span("inner", child_of=outer):
            pass
    trace = outer.trace_id
    closing = tracer.close()
    for _ in range(200):
        if closing.done():
            break
        time.sleep(0.05)
    return f"{trace:x}"


if __name__ == "__main__":
    client, port = sys.argv[1:3]
    try:
        print(jaeger(port) if client == "jaeger" else zipkin(client, port))
    except NotImplementedError as error:
        print(f"skipped: {error}")
