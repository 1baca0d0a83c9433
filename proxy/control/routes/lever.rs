//! The safety lever. Engaging it is an abort first: on the control port's own thread, before anything touches a disk.

use axum::extract::{Request, State};
use axum::{Extension, Json};
use http::StatusCode;
use squall_core::who::Identity;
use squall_drill::lever::REASON;

use super::{Port, abort, body};
use crate::api::{Empty, EngageRequest, Engaged, LeverView};
use crate::pool::Lane;
use crate::problem::Failure;

pub(super) async fn view(State(port): State<Port>) -> Result<Json<LeverView>, Failure> {
    let app = port.app;
    port.pool.run(Lane::Quick, move || app.experiments().lever()).await.map(Json)
}

pub(super) async fn engage(
    State(port): State<Port>,
    Extension(who): Extension<Identity>,
    request: Request,
) -> Result<Json<Engaged>, Failure> {
    let EngageRequest { reason } = body::json(request, &port.limits).await?;
    if !(1..=REASON).contains(&reason.trim().chars().count()) || reason.chars().any(char::is_control) {
        let why = format!("`reason` has 1 to {REASON} characters, none of them a control character");
        return Err(Failure::field("reason", why));
    }
    let progress = port.app.experiments().engage(&reason, &who.name);
    let abort = abort::follow(progress).await;
    let app = port.app;
    let kept = move || (app.experiments().keep_lever().err(), app.experiments().lever());
    let (not_kept, lever) = port.pool.run(Lane::Aborted, kept).await?;
    Ok(Json(Engaged { lever, abort, not_kept }))
}

pub(super) async fn release(
    State(port): State<Port>,
    Extension(who): Extension<Identity>,
    request: Request,
) -> Result<Json<LeverView>, Failure> {
    body::json::<Empty>(request, &port.limits).await?;
    let app = port.app;
    let release = move || app.experiments().release_lever(&who.name).map(|()| app.experiments().lever());
    let released = port.pool.run(Lane::Quick, release).await?;
    released.map(Json).map_err(|why| Failure::new(StatusCode::CONFLICT, format!("it stays engaged: {why}")))
}
