//! The kill switch. It is thrown on the control port's own thread, as the first thing the handler does: before the body
//! is read, without a queue, a lock or another thread in between.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use squall_drill::view::AbortReport;
use tokio::time::Instant;

use super::{Port, body};
use crate::api::AbortedExperiment;
use crate::app::AbortProgress;
use crate::pool::Lane;
use crate::problem::Failure;
use crate::server::nap;

const REASON: &str = "aborted through the control port";

/// The answer has to be on its way 50 ms after the request at the latest.
const PATIENCE: Duration = Duration::from_millis(45);

pub(super) async fn all(State(port): State<Port>, request: Request) -> Result<Json<AbortReport>, Failure> {
    body::expect_json_if_any(request.headers())?;
    let progress = port.app.experiments().begin_abort(None, REASON)?;
    Ok(Json(follow(progress).await))
}

pub(super) async fn one(
    State(port): State<Port>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<AbortedExperiment>, Failure> {
    body::expect_json_if_any(request.headers())?;
    let progress = port.app.experiments().begin_abort(Some(&id), REASON)?;
    let abort = follow(progress).await;
    let app = port.app;
    let experiment = port.pool.run(Lane::Aborted, move || app.experiments().view(&id)).await??;
    Ok(Json(AbortedExperiment { experiment, abort }))
}

/// Waits until everything is written, or as long as the answer may take.
pub(super) async fn follow(progress: Box<dyn AbortProgress>) -> AbortReport {
    let end = Instant::now() + PATIENCE;
    loop {
        let report = progress.report();
        if report.drained_us.is_some() || Instant::now() >= end {
            return report;
        }
        nap(Duration::from_millis(1)).await;
    }
}
