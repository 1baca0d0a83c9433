//! squall's test doubles and its open-loop load: what a drill needs when nobody has brought a service or its users.
//!
//! Every service and every workload has a thread and a runtime of its own, so that it can not disturb the workers of the
//! data plane, nor they it.

mod service;
#[cfg(test)]
mod tests;
mod thread;
mod timer;
mod workload;

use std::net::SocketAddr;
use std::sync::Arc;

use squall_core::plane::{Felt, Service, Stand, Workload};
use squall_core::scenario::{ServiceSpec, WorkloadSpec};

/// The stand on this machine: services on its own sockets, load over its own connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalStand;

impl Stand for LocalStand {
    fn service(&self, spec: &ServiceSpec) -> Result<Box<dyn Service>, String> {
        service::start(spec)
    }

    fn workload(
        &self,
        spec: &WorkloadSpec,
        target: &str,
        seed: u64,
        injected: Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>,
        felt: Option<Felt>,
    ) -> Result<Box<dyn Workload>, String> {
        workload::start(spec, target, seed, injected, felt)
    }
}
