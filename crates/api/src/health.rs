//! `grpc.health.v1.Health`, from the same source as `/ready`.

use std::pin::Pin;
use std::time::Duration;

use futures::stream::{self, Stream};
use tonic::{Request, Response, Status};
use trackway_proto::health::health_check_response::ServingStatus;
use trackway_proto::health::{HealthCheckRequest, HealthCheckResponse, health_server};

use crate::context::ApiState;

/// How often a watcher's state is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The service.
#[derive(Clone)]
pub(crate) struct Health(pub(crate) ApiState);

impl Health {
    fn state(&self, service: &str) -> ServingStatus {
        match service {
            "" | "tempopb.StreamingQuerier" | "tempopb.Querier" => match self.0.admin.ready() {
                Ok(()) => ServingStatus::Serving,
                Err(_) => ServingStatus::NotServing,
            },
            _ => ServingStatus::ServiceUnknown,
        }
    }
}

fn response(state: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: state.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.state(&request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("unknown service")),
            state => Ok(Response::new(response(state))),
        }
    }

    /// Ends when the service stops serving, so that a watcher does not hold up the end of the process.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (health, service) = (self.clone(), request.into_inner().service);
        let states = stream::unfold(None, move |last: Option<ServingStatus>| {
            let (health, service) = (health.clone(), service.clone());
            async move {
                loop {
                    let now = health.state(&service);
                    if last != Some(now) {
                        return Some((Ok(response(now)), Some(now)));
                    }
                    if now == ServingStatus::NotServing {
                        return None;
                    }
                    tokio::time::sleep(LOOK).await;
                }
            }
        });
        Ok(Response::new(Box::pin(states)))
    }
}
