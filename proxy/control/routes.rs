//! Every route, in one table: the router and the OpenAPI document are both made from it.

mod abort;
mod body;
mod experiments;
mod lever;
mod proxies;
mod report;
mod status;
mod table;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::middleware::from_fn_with_state;
use http::StatusCode;
use squall_core::who::Role;
use tokio::sync::{Semaphore, watch};

pub(crate) use self::table::{Answer, Content, Route, Taken};
use crate::access::{About, Access, identify, permit};
use crate::api::{
    AbortReport, AbortedExperiment, ApproveRequest, Empty, EngageRequest, Engaged, Event, ExperimentView, LeverView,
    Mark, Marked, ProxyRequest, ProxyView, RejectRequest, Reloaded, StartRequest, Status,
};
use crate::app::App;
use crate::audit::audit;
use crate::guard::{Guard, guard};
use crate::pool::Pool;
use crate::problem::Failure;
use crate::server::Limits;
use crate::{events, metrics, openapi};

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) app: Arc<dyn App>,
    /// Who is let in.
    pub(crate) access: Arc<Access>,
    pub(crate) pool: Pool,
    pub(crate) limits: Limits,
    /// Places for readers of the event stream.
    pub(crate) streams: Arc<Semaphore>,
    /// Becomes true when the port is to end.
    pub(crate) stop: watch::Receiver<bool>,
}

impl Port {
    pub(crate) fn new(app: Arc<dyn App>, access: Arc<Access>, limits: Limits, stop: watch::Receiver<bool>) -> Port {
        Port { app, access, pool: Pool::new(), limits, streams: Arc::new(Semaphore::new(limits.streams)), stop }
    }
}

/// All routes there are.
pub(crate) fn table() -> Vec<Route> {
    vec![
        Route::get("/v1/status", status::status, "What runs: version, proxies, experiments").gives::<Status>(200),
        Route::get("/v1/config", status::config, "What is in force, as a squall.toml").says(200, "application/toml"),
        Route::post("/v1/reload", status::reload, "Read the configuration anew, all or nothing")
            .takes::<Empty>()
            .gives::<Reloaded>(200)
            .fails(&[415, 422]),
        Route::post(
            "/v1/accept",
            status::accept,
            "Take what runs as it is, although the configuration's file says otherwise",
        )
        .least(Role::Admin)
        .takes::<Empty>()
        .gives::<Reloaded>(200)
        .fails(&[415]),
        Route::get("/v1/proxies", proxies::list, "All proxies, by name").gives::<Vec<ProxyView>>(200),
        Route::get("/v1/proxies/{name}", proxies::one, "One proxy").gives::<ProxyView>(200).fails(&[404]),
        Route::put("/v1/proxies/{name}", proxies::put, "Add a proxy, or change it in place: all or nothing")
            .takes::<ProxyRequest>()
            .gives::<ProxyView>(200)
            .gives::<ProxyView>(201)
            .fails(&[409, 415, 422]),
        Route::delete("/v1/proxies/{name}", proxies::delete, "Close a proxy's listener; open connections go on")
            .says(204, "")
            .fails(&[404, 409]),
        Route::get("/v1/experiments", experiments::list, "All experiments, newest first")
            .gives::<Vec<ExperimentView>>(200),
        Route::post("/v1/experiments", experiments::submit, "Hand in a scenario")
            .takes_scenario()
            .about(About::Handed)
            .gives::<ExperimentView>(201)
            .fails(&[409, 415, 422]),
        Route::get("/v1/experiments/{id}", experiments::one, "One experiment")
            .gives::<ExperimentView>(200)
            .fails(&[404]),
        Route::get("/v1/experiments/{id}/report", report::report, "The report of a run that is over")
            .gives::<serde_json::Value>(200)
            .says(200, "text/markdown")
            .fails(&[404, 406, 409]),
        Route::get("/v1/experiments/{id}/scenario", experiments::scenario, "What it says, exactly as its digest is of")
            .gives::<serde_json::Value>(200)
            .fails(&[404]),
        Route::post("/v1/experiments/{id}/approve", experiments::approve, "Agree to it as it is, for a while")
            .least(Role::Approver)
            .takes::<ApproveRequest>()
            .gives::<ExperimentView>(200)
            .fails(&[404, 409, 415, 422]),
        Route::post("/v1/experiments/{id}/reject", experiments::reject, "Object to it: it will not start")
            .least(Role::Approver)
            .takes::<RejectRequest>()
            .gives::<ExperimentView>(200)
            .fails(&[404, 409, 415, 422]),
        Route::post("/v1/experiments/{id}/start", experiments::start, "Arm and start it")
            .takes::<StartRequest>()
            .gives::<ExperimentView>(200)
            .fails(&[404, 409, 415, 422]),
        Route::post(
            "/v1/experiments/{id}/marks",
            experiments::mark,
            "Say what happened: detected, mitigated, a note, a step",
        )
        .least(Role::Aborter)
        .takes::<Mark>()
        .gives::<Marked>(200)
        .fails(&[404, 409, 415, 422]),
        Route::patch(
            "/v1/experiments/{id}/faults/{fault}",
            experiments::change,
            "Change fields of a fault while it runs, keeping its counts: all or nothing",
        )
        .takes::<serde_json::Map<String, serde_json::Value>>()
        .gives::<ExperimentView>(200)
        .fails(&[404, 409, 415, 422]),
        Route::post("/v1/experiments/{id}/pause", experiments::pause, "Hold it: faults off, timeline frozen")
            .least(Role::Aborter)
            .controls(),
        Route::post("/v1/experiments/{id}/resume", experiments::resume, "Go on after a pause").controls(),
        Route::post("/v1/experiments/{id}/renew", experiments::renew, "Renew its lease").controls(),
        Route::post("/v1/experiments/{id}/abort", abort::one, "End it: faults off at once")
            .least(Role::Viewer)
            .about(About::All)
            .takes_optional::<Empty>()
            .gives::<AbortedExperiment>(200)
            .fails(&[404, 409, 415]),
        Route::post("/v1/abort", abort::all, "End everything: faults off at once")
            .least(Role::Viewer)
            .about(About::All)
            .takes_optional::<Empty>()
            .gives::<AbortReport>(200)
            .fails(&[415]),
        Route::get("/v1/lever", lever::view, "How the safety lever stands").gives::<LeverView>(200),
        Route::post("/v1/lever/engage", lever::engage, "End everything, and let nothing start until it is released")
            .least(Role::Aborter)
            .takes::<EngageRequest>()
            .gives::<Engaged>(200)
            .fails(&[415, 422]),
        Route::post("/v1/lever/release", lever::release, "Let experiments start again")
            .least(Role::Admin)
            .takes::<Empty>()
            .gives::<LeverView>(200)
            .fails(&[409, 415]),
        Route::get("/v1/events", events::events, "Everything that happens from now on (SSE; `data` is an Event)")
            .streams::<Event>(200)
            .fails(&[503]),
        Route::get("/openapi.json", openapi::document, "This document").gives::<serde_json::Value>(200),
        Route::get("/metrics", metrics::scrape, "Figures for Prometheus")
            .says(200, "text/plain; version=0.0.4")
            .harmless(),
        Route::get("/healthz", status::healthz, "Whether the program is alive").says(200, "text/plain").harmless(),
        Route::get("/readyz", status::readyz, "Whether every configured proxy listens")
            .says(200, "text/plain")
            .fails(&[503])
            .harmless(),
    ]
}

/// Whether a route shows nothing but figures and health.
pub(crate) fn is_harmless(path: &str) -> bool {
    static HARMLESS: LazyLock<Vec<&str>> =
        LazyLock::new(|| table().iter().filter(|route| route.harmless).map(|route| route.path).collect());
    HARMLESS.contains(&path)
}

/// The control port.
pub(crate) fn all(port: Port, names: Guard) -> Router {
    let access = port.access.clone();
    router(table(), port, names, Some(access))
}

/// The read-only listener: metrics and health.
pub(crate) fn read_only(port: Port, names: Guard) -> Router {
    router(table().into_iter().filter(|route| route.harmless).collect(), port, names, None)
}

/// `access`: who is let in; none: everybody.
fn router(table: Vec<Route>, port: Port, names: Guard, access: Option<Arc<Access>>) -> Router {
    let routes = table.into_iter().fold(Router::new(), |router, route| {
        let handler = match &access {
            Some(_) => route.handler.route_layer(from_fn_with_state(route.needs, permit)),
            None => route.handler,
        };
        router.route(route.path, handler)
    });
    let routes = routes
        .fallback(|| async {
            Failure::new(StatusCode::NOT_FOUND, "there is nothing here: /openapi.json lists what there is")
        })
        .method_not_allowed_fallback(|| async {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method: see the Allow header")
        })
        .with_state(port.clone());
    // outermost last: what is no proper request is nobody's, and who asks is known before what is there is told
    let routes = match access {
        Some(access) => routes.layer(from_fn_with_state(access, identify)),
        None => routes,
    };
    // outside of all: what is refused is on record too
    routes.layer(from_fn_with_state(names, guard)).layer(from_fn_with_state(port, audit))
}
