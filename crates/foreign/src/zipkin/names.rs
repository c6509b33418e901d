//! Tags that belong to the resource: the names of OpenTelemetry's conventions for resources in version 1.6.1, which the
//! Collector goes by, and its own.

/// Whether a tag says something about the sender and not about the span.
pub(super) fn is_of_resource(key: &str) -> bool {
    // Nearly all tags of spans begin otherwise, and are out after a look at the prefix.
    let Some((prefix, rest)) = key.split_once('.') else { return false };
    match prefix {
        "aws" => is_of_aws(rest),
        "cloud" => ["provider", "account.id", "region", "availability_zone", "platform"].contains(&rest),
        "container" => ["name", "id", "runtime", "image.name", "image.tag"].contains(&rest),
        "deployment" => rest == "environment",
        "device" => ["id", "model.identifier", "model.name"].contains(&rest),
        "faas" => ["name", "id", "version", "instance", "max_memory"].contains(&rest),
        "host" => ["id", "name", "type", "arch", "image.name", "image.id", "image.version"].contains(&rest),
        "k8s" => is_of_kubernetes(rest),
        "opencensus" => ["starttime", "exporterversion", "resourcetype"].contains(&rest),
        "os" => ["type", "description", "name", "version"].contains(&rest),
        "process" => is_of_process(rest),
        "service" => ["name", "namespace", "instance.id", "version"].contains(&rest),
        "telemetry" => ["sdk.name", "sdk.language", "sdk.version", "auto.version"].contains(&rest),
        "webengine" => ["name", "version", "description"].contains(&rest),
        _ => false,
    }
}

fn is_of_aws(rest: &str) -> bool {
    [
        "ecs.container.arn",
        "ecs.cluster.arn",
        "ecs.launchtype",
        "ecs.task.arn",
        "ecs.task.family",
        "ecs.task.revision",
        "eks.cluster.arn",
        "log.group.names",
        "log.group.arns",
        "log.stream.names",
        "log.stream.arns",
    ]
    .contains(&rest)
}

fn is_of_kubernetes(rest: &str) -> bool {
    let Some((what, property)) = rest.split_once('.') else { return false };
    match what {
        "cluster" | "container" => property == "name",
        "namespace" => property == "name",
        "node" | "pod" | "replicaset" | "deployment" | "statefulset" | "daemonset" | "job" | "cronjob" => {
            ["name", "uid"].contains(&property)
        }
        _ => false,
    }
}

fn is_of_process(rest: &str) -> bool {
    [
        "pid",
        "executable.name",
        "executable.path",
        "command",
        "command_line",
        "command_args",
        "owner",
        "runtime.name",
        "runtime.version",
        "runtime.description",
    ]
    .contains(&rest)
}

#[cfg(test)]
mod tests {
    use super::is_of_resource;

    #[test]
    fn names() {
        for key in ["service.version", "host.name", "k8s.pod.name", "process.pid", "opencensus.starttime"] {
            assert!(is_of_resource(key), "{key}");
        }
        for key in ["http.method", "hostname", "host.ip", "k8s.pod", "service", "", "otel.library.name"] {
            assert!(!is_of_resource(key), "{key}");
        }
    }
}
