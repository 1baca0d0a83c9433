//! What an experiment brings: services, proxies, load. All of it goes when this is dropped, so a start that fails in the
//! middle and a run that is over leave through the same door.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use squall_core::draw::hash;
use squall_core::plane::{DataPlane, Felt, ProxyInfo, Service, ServiceReading, Stand, Workload, WorkloadReading};
use squall_core::scenario::{Checked, ProxySpec, ServiceKind, ServiceSpec, WorkloadSpec};

/// How long a workload may wait for what is under way when a run ends.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// What runs for one experiment.
pub(crate) struct Brought {
    plane: Arc<dyn DataPlane>,
    pub(crate) proxies: Vec<ProxyInfo>,
    services: Vec<(String, Box<dyn Service>)>,
    workloads: Vec<Box<dyn Workload>>,
    /// Final figures, once the workloads are finished.
    last: Vec<WorkloadReading>,
}

impl Brought {
    /// Starts services, opens proxies, starts workloads. On an error everything started so far is gone again.
    pub(crate) fn bring(
        plane: &Arc<dyn DataPlane>,
        stand: &dyn Stand,
        checked: &Checked,
        seed: u64,
        felt: impl Fn(usize) -> Option<Felt>,
    ) -> Result<Brought, String> {
        let (proxies, services, workloads, last) = Default::default();
        let mut brought = Brought { plane: plane.clone(), proxies, services, workloads, last };
        brought.stand_up(stand, checked)?;
        for (n, spec) in checked.workloads.iter().enumerate() {
            let workload =
                brought.load(stand, spec, seed, felt(n)).map_err(|why| format!("workload `{}`: {why}", spec.name))?;
            brought.workloads.push(workload);
        }
        Ok(brought)
    }

    /// Starts services and opens proxies, those first that others lead to.
    fn stand_up(&mut self, stand: &dyn Stand, checked: &Checked) -> Result<(), String> {
        let mut services: Vec<&ServiceSpec> = checked.services.iter().collect();
        let mut proxies: Vec<&ProxySpec> = checked.proxies.iter().collect();
        while !services.is_empty() || !proxies.is_empty() {
            if let Some((n, spec)) = first(&services, |spec| self.resolve_service(spec)) {
                services.remove(n);
                let service = stand.service(&spec).map_err(|why| format!("service `{}`: {why}", spec.name))?;
                self.services.push((spec.name, service));
            } else if let Some((n, spec)) = first(&proxies, |spec| self.resolve_proxy(spec)) {
                proxies.remove(n);
                let info = self.plane.open(&spec).map_err(|why| format!("proxy `{}`: {why}", spec.name))?;
                self.proxies.push(info);
            } else {
                let names = proxies.iter().map(|spec| &spec.name).chain(services.iter().map(|spec| &spec.name));
                let names: Vec<&str> = names.map(String::as_str).collect();
                return Err(format!("the way from {} leads nowhere or back to itself", names.join(", ")));
            }
        }
        // as the scenario lists them
        let place = |name: &str| checked.services.iter().position(|spec| spec.name == name);
        self.services.sort_by_key(|(name, _)| place(name));
        Ok(())
    }

    /// The service with the addresses of those whom it calls, once all of them are there.
    fn resolve_service(&self, spec: &ServiceSpec) -> Option<ServiceSpec> {
        let mut spec = spec.clone();
        if let ServiceKind::Http { calls: Some(calls), .. } = &mut spec.kind {
            calls.targets = calls.targets.iter().map(|target| self.resolve(target)).collect::<Option<_>>()?;
        }
        Some(spec)
    }

    fn resolve_proxy(&self, spec: &ProxySpec) -> Option<ProxySpec> {
        Some(ProxySpec { upstream: self.resolve(&spec.upstream)?, ..spec.clone() })
    }

    fn load(
        &self,
        stand: &dyn Stand,
        spec: &WorkloadSpec,
        seed: u64,
        felt: Option<Felt>,
    ) -> Result<Box<dyn Workload>, String> {
        let target = self.resolve(&spec.target).ok_or_else(|| format!("there is no `{}`", spec.target))?;
        let mut own = seed.to_le_bytes().to_vec();
        own.extend_from_slice(spec.name.as_bytes());
        let plane = self.plane.clone();
        let listen: Option<SocketAddr> = target.parse().ok();
        let injected = Arc::new(move |client: SocketAddr| {
            plane.injected_end(client).is_some() || listen.is_some_and(|listen| plane.is_shut(listen))
        });
        stand.workload(spec, &target, hash(&own), injected, felt)
    }

    /// The address behind `service:NAME` or `proxy:NAME`; anything else is one.
    fn resolve(&self, address: &str) -> Option<String> {
        match address.split_once(':') {
            Some(("service", name)) => {
                let service = self.services.iter().find(|(known, _)| known == name);
                service.map(|(_, service)| service.address().to_string())
            }
            Some(("proxy", name)) => {
                let own = self.proxies.iter().find(|info| info.spec.name == name).cloned();
                let any = || self.plane.proxies().into_iter().find(|info| info.spec.name == name);
                own.or_else(any).map(|info| info.listen)
            }
            _ => Some(address.to_owned()),
        }
    }

    /// Figures of every service, as the scenario lists them.
    pub(crate) fn service_readings(&self) -> Vec<ServiceReading> {
        self.services.iter().map(|(_, service)| service.reading()).collect()
    }

    /// Figures of every workload, in order.
    pub(crate) fn readings(&self) -> Vec<WorkloadReading> {
        match self.workloads.is_empty() {
            true => self.last.clone(),
            false => self.workloads.iter().map(|workload| workload.reading()).collect(),
        }
    }

    /// Stops the load and waits for what is under way, all workloads at the same time.
    pub(crate) fn finish(&mut self) {
        let workloads = std::mem::take(&mut self.workloads);
        self.last = std::thread::scope(|scope| {
            let ends: Vec<_> = workloads.iter().map(|workload| scope.spawn(|| workload.finish(LAST_ANSWERS))).collect();
            let last = ends.into_iter().zip(&workloads);
            last.map(|(end, workload)| end.join().unwrap_or_else(|_| workload.reading())).collect()
        });
    }
}

/// The first that is ready, with its place.
fn first<S>(waiting: &[&S], ready: impl Fn(&S) -> Option<S>) -> Option<(usize, S)> {
    waiting.iter().enumerate().find_map(|(n, spec)| Some((n, ready(spec)?)))
}

impl Drop for Brought {
    fn drop(&mut self) {
        self.workloads.clear();
        for info in self.proxies.drain(..).rev() {
            if let Err(why) = self.plane.close(&info.spec.name) {
                tracing::warn!("proxy `{}` was gone already: {why}", info.spec.name);
            }
        }
    }
}
