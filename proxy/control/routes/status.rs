//! What runs, what is configured, and whether all is well.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::{Port, body};
use crate::api::{Empty, ExperimentLine, ExperimentView, Proxy, Reloaded, Status};
use crate::pool::Lane;
use crate::problem::Failure;
use crate::routes::proxies::proxy;

pub(super) async fn status(State(port): State<Port>) -> Result<Json<Status>, Failure> {
    let app = port.app;
    let status = move || Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        environment: app.environment(),
        drift: app.drift(),
        proxies: app.plane().proxies().into_iter().map(proxy).collect::<Vec<Proxy>>(),
        experiments: app.experiments().list().into_iter().map(line).collect(),
        lever: app.experiments().lever(),
    };
    port.pool.run(Lane::Quick, status).await.map(Json)
}

pub(super) async fn config(State(port): State<Port>) -> Result<impl IntoResponse, Failure> {
    let app = port.app;
    let config = port.pool.run(Lane::Quick, move || app.config()).await?;
    Ok(([(CONTENT_TYPE, "application/toml")], config))
}

pub(super) async fn reload(State(port): State<Port>, request: Request) -> Result<Json<Reloaded>, Failure> {
    body::json::<Empty>(request, &port.limits).await?;
    let app = port.app;
    let reloaded = port.pool.run(Lane::Slow, move || app.reload()).await?;
    let changes = reloaded.map_err(|diagnostics| Failure::diagnostics("configuration", &diagnostics))?;
    Ok(Json(Reloaded { changes }))
}

pub(super) async fn accept(State(port): State<Port>, request: Request) -> Result<Json<Reloaded>, Failure> {
    body::json::<Empty>(request, &port.limits).await?;
    let app = port.app;
    let changes = port.pool.run(Lane::Slow, move || app.accept()).await?;
    Ok(Json(Reloaded { changes }))
}

/// Asks nobody: it is about the control port's own thread.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(port): State<Port>) -> Result<&'static str, Failure> {
    match port.app.is_ready() {
        true => Ok("ready\n"),
        false => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "not every configured proxy listens")),
    }
}

fn line(view: ExperimentView) -> ExperimentLine {
    let ExperimentView { id, name, state, observed, waiting, consent, .. } = view;
    ExperimentLine { id, name, state, observed, waiting, consent }
}
