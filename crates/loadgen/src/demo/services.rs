//! The services of the demo's web shop, and what each says about itself.

use crate::otlp::Attrs;

/// A service, by its place in [`SERVICES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Browser,
    Frontend,
    Checkout,
    Cart,
    Catalog,
    Payment,
    Email,
    Shipping,
    Inventory,
}

/// What a service says about itself.
#[derive(Debug)]
pub(super) struct About {
    pub(super) name: &'static str,
    pub(super) namespace: &'static str,
    pub(super) version: &'static str,
    pub(super) scope: &'static str,
    language: &'static str,
    sdk: &'static str,
    pod: &'static str,
}

/// In the order of [`Service`].
pub(super) static SERVICES: [About; 9] = [
    About {
        name: "frontend-web",
        namespace: "shop",
        version: "2025.11.2",
        scope: "@opentelemetry/instrumentation-fetch",
        language: "webjs",
        sdk: "2.1.0",
        pod: "",
    },
    About {
        name: "frontend",
        namespace: "shop",
        version: "2025.11.2",
        scope: "@opentelemetry/instrumentation-http",
        language: "nodejs",
        sdk: "2.1.0",
        pod: "frontend-6c9f7d5b8d-x2x7k",
    },
    About {
        name: "checkout",
        namespace: "shop",
        version: "1.22.0",
        scope: "opentelemetry.instrumentation.grpc",
        language: "python",
        sdk: "1.41.0",
        pod: "checkout-7d4b9c66f5-9qk2m",
    },
    About {
        name: "cart",
        namespace: "shop",
        version: "4.1.9",
        scope: "OpenTelemetry.Instrumentation.GrpcNetClient",
        language: "dotnet",
        sdk: "1.12.0",
        pod: "cart-5f6d8b7c4-hh4zt",
    },
    About {
        name: "product-catalog",
        namespace: "shop",
        version: "7.0.1",
        scope: "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
        language: "go",
        sdk: "1.38.0",
        pod: "product-catalog-59c8d6f9bb-4nwlc",
    },
    About {
        name: "payment",
        namespace: "shop",
        version: "6.2.2",
        scope: "io.opentelemetry.grpc-1.6",
        language: "java",
        sdk: "1.54.1",
        pod: "payment-84d7f5c9c6-t8jvd",
    },
    About {
        name: "email",
        namespace: "logistics",
        version: "0.9.4",
        scope: "OpenTelemetry::Instrumentation::Rack",
        language: "ruby",
        sdk: "1.9.0",
        pod: "email-6b7f9d8c5d-zk5rw",
    },
    About {
        name: "shipping",
        namespace: "logistics",
        version: "1.9.1",
        scope: "go.opentelemetry.io/otel/shipping",
        language: "go",
        sdk: "1.38.0",
        pod: "shipping-77c5b8d4f9-m6q9s",
    },
    About {
        name: "inventory",
        namespace: "logistics",
        version: "2.5.5",
        scope: "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
        language: "go",
        sdk: "1.38.0",
        pod: "inventory-5d9b7c8f6-c7v2x",
    },
];

/// The encoded attributes of a service's resource.
pub(super) fn resource(about: &About) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut attrs = Attrs::of_resource(&mut out);
    attrs.text("service.name", about.name).text("service.namespace", about.namespace);
    attrs.text("service.version", about.version).text("deployment.environment.name", "demo");
    attrs.text("telemetry.sdk.name", "opentelemetry").text("telemetry.sdk.language", about.language);
    attrs.text("telemetry.sdk.version", about.sdk);
    if about.pod.is_empty() {
        attrs
            .text("browser.platform", "macOS")
            .flag("browser.mobile", false)
            .text("browser.language", "en-GB");
        attrs.text("user_agent.original", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Firefox/144.0");
    } else {
        attrs.text("service.instance.id", about.pod).text("k8s.namespace.name", about.namespace);
        attrs
            .text("k8s.deployment.name", about.name)
            .text("k8s.pod.name", about.pod)
            .text("host.name", "demo-node-1");
    }
    out
}
