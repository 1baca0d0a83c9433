//! Experiments: handed in, shown, started, paused, kept alive.

use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::{Extension, Json};
use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION};
use squall_core::unit;
use squall_core::who::Identity;
use squall_drill::approve::REASON;
use squall_drill::engine::Keep;
use squall_drill::view::{ExperimentView, Mark, Marked, Refusal};

use super::{Port, body};
use crate::access;
use crate::api::{ApproveRequest, Empty, RejectRequest, StartRequest};
use crate::app::Experiments;
use crate::pool::Lane;
use crate::problem::Failure;

type View = Result<Json<ExperimentView>, Failure>;

pub(super) async fn list(State(port): State<Port>) -> Result<Json<Vec<ExperimentView>>, Failure> {
    let app = port.app;
    port.pool.run(Lane::Quick, move || app.experiments().list()).await.map(Json)
}

pub(super) async fn one(State(port): State<Port>, Path(id): Path<String>) -> View {
    call(port, Lane::Quick, move |experiments| experiments.view(&id)).await
}

pub(super) async fn submit(
    State(port): State<Port>,
    Query(query): Query<Vec<(String, String)>>,
    Extension(who): Extension<Identity>,
    request: Request,
) -> Result<(StatusCode, [(http::HeaderName, String); 1], Json<ExperimentView>), Failure> {
    let set = query.into_iter().map(parameter).collect::<Result<Vec<_>, _>>()?;
    let (text, format) = body::scenario(request, &port.limits).await?;
    let app = port.app;
    let submit = move || {
        let checked = app.scenario(&text, format, &set);
        let checked = checked.map_err(|diagnostics| Failure::diagnostics("scenario", &diagnostics))?;
        access::covers(&who, &checked.name)?;
        Ok::<_, Failure>(app.experiments().submit(checked, &who)?)
    };
    let view = port.pool.run(Lane::Slow, submit).await??;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/v1/experiments/{}", view.id))], Json(view)))
}

pub(super) async fn start(
    State(port): State<Port>,
    Path(id): Path<String>,
    Extension(who): Extension<Identity>,
    request: Request,
) -> View {
    let mut request: StartRequest = body::json(request, &port.limits).await?;
    let (observe, check, digest) = (request.observe, request.check, request.digest.take());
    let keep = keep(request)?;
    let start = move |experiments: &dyn Experiments| {
        if let Some(digest) = digest {
            let view = experiments.view(&id)?;
            if view.digest != digest {
                return Err(Refusal::State(format!("`{id}` is not what was meant: its digest is {}", view.digest)));
            }
        }
        if check {
            return experiments.check(&id, keep, observe, &who);
        }
        match observe {
            true => experiments.observe(&id, keep, &who),
            false => experiments.start(&id, keep, &who),
        }
    };
    call(port, Lane::Slow, start).await
}

pub(super) async fn change(
    State(port): State<Port>,
    Path((id, fault)): Path<(String, String)>,
    request: Request,
) -> View {
    let fields: serde_json::Map<String, serde_json::Value> = body::json(request, &port.limits).await?;
    let app = port.app;
    let change = move || {
        let experiments = app.experiments();
        if !experiments.view(&id)?.faults.iter().any(|known| known.name == fault) {
            return Err(Failure::new(StatusCode::NOT_FOUND, format!("`{id}` has no fault `{fault}`")));
        }
        let before = experiments.canonical(&id)?;
        let changed = app.changed(&before, &fault, &fields);
        let changed = changed.map_err(|diagnostics| Failure::diagnostics("fault", &diagnostics))?;
        Ok(experiments.change(&id, &fault, &before, changed)?)
    };
    Ok(Json(port.pool.run(Lane::Slow, change).await??))
}

pub(super) async fn approve(
    State(port): State<Port>,
    Path(id): Path<String>,
    Extension(who): Extension<Identity>,
    request: Request,
) -> View {
    let request: ApproveRequest = body::json(request, &port.limits).await?;
    let given = request.read().map_err(|(field, why)| Failure::field(field, why))?;
    call(port, Lane::Quick, move |experiments| experiments.approve(&id, &given, &who)).await
}

pub(super) async fn reject(
    State(port): State<Port>,
    Path(id): Path<String>,
    Extension(who): Extension<Identity>,
    request: Request,
) -> View {
    let RejectRequest { reason } = body::json(request, &port.limits).await?;
    if !(1..=REASON).contains(&reason.trim().chars().count()) || reason.chars().any(char::is_control) {
        let why = format!("`reason` has 1 to {REASON} characters, none of them a control character");
        return Err(Failure::field("reason", why));
    }
    call(port, Lane::Quick, move |experiments| experiments.reject(&id, reason.trim(), &who)).await
}

/// As it is hashed, byte by byte: `sha256sum` gives the digest.
pub(super) async fn scenario(
    State(port): State<Port>,
    Path(id): Path<String>,
) -> Result<([(http::HeaderName, &'static str); 1], String), Failure> {
    let app = port.app;
    let text = port.pool.run(Lane::Quick, move || app.experiments().canonical(&id)).await??;
    Ok(([(CONTENT_TYPE, "application/json")], text))
}

pub(super) async fn mark(
    State(port): State<Port>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Marked>, Failure> {
    let mark: Mark = body::json(request, &port.limits).await?;
    mark.check().map_err(|(field, why)| Failure::field(field, why))?;
    let app = port.app;
    Ok(Json(port.pool.run(Lane::Quick, move || app.experiments().mark(&id, mark)).await??))
}

pub(super) async fn pause(State(port): State<Port>, Path(id): Path<String>, request: Request) -> View {
    body::json::<Empty>(request, &port.limits).await?;
    call(port, Lane::Quick, move |experiments| experiments.pause(&id)).await
}

pub(super) async fn resume(State(port): State<Port>, Path(id): Path<String>, request: Request) -> View {
    body::json::<Empty>(request, &port.limits).await?;
    call(port, Lane::Quick, move |experiments| experiments.resume(&id)).await
}

pub(super) async fn renew(State(port): State<Port>, Path(id): Path<String>, request: Request) -> View {
    body::json::<Empty>(request, &port.limits).await?;
    call(port, Lane::Quick, move |experiments| experiments.renew(&id)).await
}

async fn call(
    port: Port,
    lane: Lane,
    call: impl FnOnce(&dyn Experiments) -> Result<ExperimentView, Refusal> + Send + 'static,
) -> View {
    let app = port.app;
    Ok(Json(port.pool.run(lane, move || call(app.experiments())).await??))
}

/// `set=name=value` of the query.
fn parameter((key, value): (String, String)) -> Result<(String, String), Failure> {
    match value.split_once('=') {
        Some((name, value)) if key == "set" => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::new(StatusCode::BAD_REQUEST, "the query takes `set=name=value` only, any number of times")),
    }
}

fn keep(request: StartRequest) -> Result<Keep, Failure> {
    match (request.detach, request.max) {
        (false, None) => Ok(Keep::Lease),
        (false, Some(_)) => Err(Failure::field("max", "`max` is for detached experiments: add `detach`")),
        (true, None) => Err(Failure::field("max", "a detached experiment needs an end: say `max`, as in \"5m\"")),
        (true, Some(max)) => match max.parse::<unit::Duration>() {
            Ok(max) if max.0 > 0 => Ok(Keep::Detached(Duration::from_nanos(max.0))),
            Ok(_) => Err(Failure::field("max", "`max` must be more than 0")),
            Err(why) => Err(Failure::field("max", why)),
        },
    }
}
