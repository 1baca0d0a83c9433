//! Proxies: shown, added, changed, removed.

use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::{Path, Request, State};
use http::StatusCode;
use squall_core::plane::{PlaneError, ProxyInfo};
use squall_core::scenario::ProxySpec;
use squall_core::time::MILLI;
use squall_drill::view::ExperimentView;

use super::{Port, body};
use crate::api::{Proxy, ProxyRequest, ProxyView};
use crate::app::App;
use crate::pool::Lane;
use crate::problem::Failure;

/// One change at a time: looking whether a proxy exists and acting on it belong together.
static CHANGES: Mutex<()> = Mutex::new(());

pub(super) async fn list(State(port): State<Port>) -> Result<Json<Vec<ProxyView>>, Failure> {
    let app = port.app;
    let views = move || {
        let experiments = app.experiments().list();
        app.plane().proxies().into_iter().map(|info| view(&*app, &experiments, info)).collect()
    };
    port.pool.run(Lane::Quick, views).await.map(Json)
}

pub(super) async fn one(State(port): State<Port>, Path(name): Path<String>) -> Result<Json<ProxyView>, Failure> {
    let app = port.app;
    let found = move || {
        let info = find(&*app, &name).ok_or(PlaneError::Unknown(name))?;
        Ok(view(&*app, &app.experiments().list(), info))
    };
    port.pool.run(Lane::Quick, found).await?.map(Json)
}

pub(super) async fn put(
    State(port): State<Port>,
    Path(name): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<ProxyView>), Failure> {
    let wanted: ProxyRequest = body::json(request, &port.limits).await?;
    if wanted.name.as_ref().is_some_and(|other| *other != name) {
        return Err(Failure::field("name", format!("the path says `{name}`")));
    }
    let app = port.app;
    let put = move || {
        let spec = app.proxy(&name, &wanted).map_err(|diagnostics| Failure::diagnostics("proxy", &diagnostics))?;
        let _turn = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        let experiments = app.experiments().list();
        refuse_if_brought(&experiments, &name)?;
        let (status, info) = match find(&*app, &name) {
            None => (StatusCode::CREATED, app.plane().open(&spec)?),
            Some(info) => match keep_listener(&info, spec) {
                spec if spec == info.spec => (StatusCode::OK, info),
                spec => (StatusCode::OK, app.plane().change(&spec)?),
            },
        };
        Ok((status, Json(view(&*app, &experiments, info))))
    };
    port.pool.run(Lane::Quick, put).await?
}

pub(super) async fn delete(State(port): State<Port>, Path(name): Path<String>) -> Result<StatusCode, Failure> {
    let app = port.app;
    let delete = move || {
        let _turn = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        refuse_if_brought(&app.experiments().list(), &name)?;
        app.plane().close(&name)?;
        Ok(StatusCode::NO_CONTENT)
    };
    port.pool.run(Lane::Quick, delete).await?
}

/// A proxy as the status shows it.
pub(super) fn proxy(info: ProxyInfo) -> Proxy {
    let ProxySpec { name, upstream, protocol, .. } = info.spec;
    Proxy { name, listen: info.listen, upstream, protocol }
}

fn find(app: &dyn App, name: &str) -> Option<ProxyInfo> {
    app.plane().proxies().into_iter().find(|info| info.spec.name == name)
}

fn view(app: &dyn App, experiments: &[ExperimentView], info: ProxyInfo) -> ProxyView {
    let reading = app.plane().reading(&info.spec.name).unwrap_or_default();
    ProxyView {
        max_connections: info.spec.max_connections,
        way: info.spec.way.clone(),
        connect_timeout_ms: info.spec.connect_timeout / MILLI,
        experiment: brought_by(experiments, &info.spec.name).map(str::to_owned),
        accepted: reading.accepted,
        misheaded: reading.misheaded,
        hello_refused: reading.hello_refused,
        tls_client_failed: reading.tls_client_failed,
        tls_server_failed: reading.tls_server_failed,
        active: reading.active,
        bytes_upstream: reading.bytes_upstream,
        bytes_downstream: reading.bytes_downstream,
        dropped: reading.dropped,
        proxy: proxy(info),
    }
}

fn brought_by<'a>(experiments: &'a [ExperimentView], proxy: &str) -> Option<&'a str> {
    let mut alive = experiments.iter().filter(|view| !view.state.is_over());
    alive.find(|view| view.proxies.iter().any(|(name, _)| name == proxy)).map(|view| &*view.id)
}

fn refuse_if_brought(experiments: &[ExperimentView], proxy: &str) -> Result<(), Failure> {
    let Some(id) = brought_by(experiments, proxy) else { return Ok(()) };
    let why = format!("proxy `{proxy}` belongs to the running experiment `{id}` and goes with it");
    Err(Failure::new(StatusCode::CONFLICT, why))
}

/// Asked to listen where it listens already (port 0 has become that port), a proxy keeps its listener.
fn keep_listener(info: &ProxyInfo, spec: ProxySpec) -> ProxySpec {
    match spec.listen == info.listen {
        true => ProxySpec { listen: info.spec.listen.clone(), ..spec },
        false => spec,
    }
}
