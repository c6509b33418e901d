// Sends the spans "outer" (server) and, below it, "inner" (client) of the service go-shop with a real client of Jaeger.
//
//	jaeger client|exporter udp|http ENDPOINT [TENANT]
//
// client is github.com/uber/jaeger-client-go, exporter is go.opentelemetry.io/otel/exporters/jaeger. ENDPOINT is
// host:port for udp and a URL for http. It prints the trace id in hexadecimal.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/opentracing/opentracing-go"
	"github.com/opentracing/opentracing-go/ext"
	"github.com/uber/jaeger-client-go"
	"github.com/uber/jaeger-client-go/transport"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	oteljaeger "go.opentelemetry.io/otel/exporters/jaeger"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tenanted adds the tenant's header to every request.
type tenanted struct{ tenant string }

func (own tenanted) RoundTrip(request *http.Request) (*http.Response, error) {
	if own.tenant != "" {
		request.Header.Set("X-Scope-OrgID", own.tenant)
	}
	return http.DefaultTransport.RoundTrip(request)
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func client(way, endpoint, tenant string) string {
	var sender jaeger.Transport
	if way == "udp" {
		sender = must(jaeger.NewUDPTransport(endpoint, 0))
	} else {
		sender = transport.NewHTTPTransport(endpoint, transport.HTTPRoundTripper(tenanted{tenant}))
	}
	reporter := jaeger.NewRemoteReporter(sender, jaeger.ReporterOptions.Logger(jaeger.StdLogger))
	tracer, closer := jaeger.NewTracer("go-shop", jaeger.NewConstSampler(true), reporter,
		jaeger.TracerOptions.Gen128Bit(true))
	outer := tracer.StartSpan("outer", ext.SpanKindRPCServer, opentracing.Tags{"key": "value", "count": 3})
	inner := tracer.StartSpan("inner", ext.SpanKindRPCClient, opentracing.ChildOf(outer.Context()))
	ext.Error.Set(inner, true)
	inner.Finish()
	outer.Finish()
	if err := closer.Close(); err != nil {
		log.Fatal(err)
	}
	return outer.Context().(jaeger.SpanContext).TraceID().String()
}

func exporter(way, endpoint, tenant string) string {
	var where oteljaeger.EndpointOption
	if way == "udp" {
		host, port, err := net.SplitHostPort(endpoint)
		if err != nil {
			log.Fatal(err)
		}
		where = oteljaeger.WithAgentEndpoint(oteljaeger.WithAgentHost(host), oteljaeger.WithAgentPort(port))
	} else {
		own := &http.Client{Transport: tenanted{tenant}}
		where = oteljaeger.WithCollectorEndpoint(
			oteljaeger.WithEndpoint(endpoint), oteljaeger.WithHTTPClient(own))
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(must(oteljaeger.New(where))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "go-shop"))))
	ctx := context.Background()
	tracer := provider.Tracer("shop")
	ctx, outer := tracer.Start(ctx, "outer", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("key", "value"), attribute.Int("count", 3)))
	_, inner := tracer.Start(ctx, "inner", trace.WithSpanKind(trace.SpanKindClient))
	inner.SetStatus(codes.Error, "no stock")
	inner.End()
	outer.End()
	if err := provider.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	return outer.SpanContext().TraceID().String()
}

func main() {
	arguments := append(os.Args[1:], "")
	if len(arguments) < 4 {
		log.Fatal("usage: jaeger client|exporter udp|http ENDPOINT [TENANT]")
	}
	send := client
	if arguments[0] == "exporter" {
		send = exporter
	}
	fmt.Println(send(arguments[1], arguments[2], arguments[3]))
}
