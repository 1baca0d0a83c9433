//! `/metrics`: the figures of proxies and experiments at the moment of the scrape.
//!
//! Nothing is counted here. Workers and engine keep the figures; a scrape reads them into a recorder of its own, so that
//! what is gone leaves no series behind and the data plane pays nothing.

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use squall_core::observe::{HttpReading, Reading};
use squall_core::time::SECOND;
use squall_drill::view::{ExperimentView, FaultView};

use crate::app::App;
use crate::pool::Lane;
use crate::problem::Failure;
use crate::routes::Port;

/// Experiments that are over and still shown, the latest: enough that a scrape sees the end of each.
const OVER: usize = 16;

pub(crate) async fn scrape(State(port): State<Port>) -> Result<impl IntoResponse, Failure> {
    let app = port.app;
    let text = port.pool.run(Lane::Quick, move || render(&*app)).await?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn render(app: &dyn App) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let sheet = Sheet(&recorder);
    sheet.gauge(
        "squall_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
        "Always 1: the version is the label",
    );
    for info in app.plane().proxies() {
        let name = &*info.spec.name;
        if let Some(reading) = app.plane().reading(name) {
            proxy(&sheet, name, &reading);
        }
    }
    let mut over = 0;
    for view in app.experiments().list() {
        over += usize::from(view.state.is_over());
        if !view.state.is_over() || over <= OVER {
            experiment(&sheet, &view);
        }
    }
    recorder.handle().render()
}

#[allow(clippy::cast_precision_loss)] // seconds and counts of connections
fn proxy(sheet: &Sheet<'_>, name: &str, reading: &Reading) {
    let of = [("proxy", name)];
    sheet.count("squall_proxy_connections_total", &of, reading.accepted, "Connections accepted");
    sheet.gauge("squall_proxy_connections_active", &of, reading.active as f64, "Connections open now");
    let waiting = "Connections, or HTTP exchanges, that wait for their upstream now";
    sheet.gauge("squall_proxy_waiting", &of, reading.waiting as f64, waiting);
    let failed = "Connections that failed or were ended early, by origin (injected: by a fault)";
    for (origin, cause, count) in [
        ("injected", "fault", reading.injected),
        ("client", "reset", reading.reset_by_client),
        ("client", "header", reading.misheaded),
        ("client", "hello", reading.hello_refused),
        ("client", "handshake", reading.tls_client_failed),
        ("server", "handshake", reading.tls_server_failed),
        ("server", "reset", reading.reset_by_server),
        ("server", "connect", reading.connect_failed),
        ("squall", "limit", reading.refused),
    ] {
        let of = [("proxy", name), ("origin", origin), ("cause", cause)];
        sheet.count("squall_proxy_connections_failed_total", &of, count, failed);
    }
    http(sheet, name, &reading.http);
    for (direction, bytes) in [("upstream", reading.bytes_upstream), ("downstream", reading.bytes_downstream)] {
        sheet.count("squall_proxy_bytes_total", &[("proxy", name), ("direction", direction)], bytes, "Bytes delivered");
    }
    for (label, quantile) in [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99)] {
        if let Some(ns) = reading.turns.quantile(quantile) {
            let about = "Last client byte to first answer byte, since the proxy was opened, while somebody measures it";
            let of = [("proxy", name), ("quantile", label)];
            sheet.gauge("squall_proxy_turn_seconds", &of, ns as f64 / SECOND as f64, about);
        }
    }
}

fn http(sheet: &Sheet<'_>, name: &str, reading: &HttpReading) {
    if *reading == HttpReading::default() {
        return; // it carries bytes, or nobody has asked anything yet
    }
    let about = "HTTP answers passed on by the class of their status; those that a fault made are in injected";
    for (class, count) in reading.answers.iter().enumerate().skip(1) {
        let class = format!("{class}xx");
        sheet.count("squall_http_answers_total", &[("proxy", name), ("class", &class)], *count, about);
    }
    let about = "HTTP exchanges that a fault answered, cut, or whose client or upstream ended them early, by origin";
    for (origin, cause, count) in [
        ("injected", "answer", reading.answers_injected),
        ("injected", "cut", reading.cut_injected),
        ("server", "cut", reading.cut),
        ("client", "left", reading.left),
    ] {
        let of = [("proxy", name), ("origin", origin), ("cause", cause)];
        sheet.count("squall_http_exchanges_ended_total", &of, count, about);
    }
    let about = "HTTP exchanges over a connection to the upstream that had carried one before";
    sheet.count("squall_http_upstream_reused_total", &[("proxy", name)], reading.reused, about);
}

fn experiment(sheet: &Sheet<'_>, view: &ExperimentView) {
    let state = serde_json::to_value(view.state).unwrap_or_default();
    let of = [("experiment", &*view.id), ("state", state.as_str().unwrap_or(""))];
    sheet.gauge("squall_experiment_state", &of, 1.0, "Always 1: the state is the label");
    sheet.gauge("squall_experiment_elapsed_seconds", &of[..1], view.elapsed, "Time on its timeline, without pauses");
    let about = "1 where it only observes: the counts of its faults are of what would have been";
    sheet.gauge("squall_experiment_observed", &of[..1], f64::from(u8::from(view.observed)), about);
    let about = "1 while it waits for a person to do a step";
    sheet.gauge("squall_experiment_waiting", &of[..1], f64::from(u8::from(view.waiting.is_some())), about);
    for of in &view.faults {
        fault(sheet, &view.id, of);
    }
}

#[allow(clippy::cast_precision_loss)] // a count of connections
fn fault(sheet: &Sheet<'_>, experiment: &str, view: &FaultView) {
    let of = [("experiment", experiment), ("fault", &*view.name), ("kind", &*view.kind)];
    sheet.gauge(
        "squall_fault_active",
        &of,
        f64::from(u8::from(view.active)),
        "1 while its window is open and its switch on",
    );
    if let Some(ladder) = &view.ladder {
        let about = "The percentage that its exposure ladder stands on, 0 while its window is closed";
        sheet.gauge("squall_fault_percentage", &of, ladder.percentage, about);
        sheet.gauge("squall_fault_step", &of, ladder.step as f64, "The step of its exposure ladder, from 1");
    }
    sheet.gauge("squall_fault_held", &of, view.tally.held as f64, "Units held now");
    for (name, count, about) in [
        ("squall_fault_eligible_total", view.tally.eligible, "Units that it could have selected"),
        ("squall_fault_selected_total", view.tally.selected, "Units selected"),
        ("squall_fault_injected_total", view.tally.injected, "Injections carried out"),
        ("squall_fault_affected_total", view.tally.affected, "Units with at least one injection"),
        ("squall_fault_released_total", view.tally.released, "Units let go while they were held"),
        (
            "squall_fault_overflow_total",
            view.tally.overflow,
            "Units not selected because max_active_faults was reached",
        ),
        ("squall_fault_key_absent_total", view.tally.key_absent, "Units without the key"),
        (
            "squall_fault_reset_on_abort_total",
            view.tally.reset_on_abort,
            "Connections reset because bytes had been withheld",
        ),
        ("squall_fault_dropped_total", view.tally.dropped, "Units whose connection ended while they were held"),
        (
            "squall_fault_stuck_total",
            view.tally.stuck,
            "Connections on which it did not get on, and was passed over (a bug)",
        ),
        ("squall_fault_unrecorded_total", view.tally.unrecorded, "Ledger records lost"),
        ("squall_fault_unread_total", view.tally.unread, "Messages that it could not read, and let by"),
        ("squall_fault_forgotten_total", view.tally.forgotten, "Keys that it counted apart until there were too many"),
    ] {
        sheet.count(name, &of, count, about);
    }
}

/// Takes down the figures of one scrape.
struct Sheet<'a>(&'a PrometheusRecorder);

const ORIGIN: Metadata<'static> = Metadata::new("squall", Level::INFO, None);

impl Sheet<'_> {
    fn count(&self, name: &'static str, of: &[(&'static str, &str)], value: u64, about: &'static str) {
        self.0.describe_counter(name.into(), None, about.into());
        self.0.register_counter(&key(name, of), &ORIGIN).absolute(value);
    }

    fn gauge(&self, name: &'static str, of: &[(&'static str, &str)], value: f64, about: &'static str) {
        self.0.describe_gauge(name.into(), None, about.into());
        self.0.register_gauge(&key(name, of), &ORIGIN).set(value);
    }
}

fn key(name: &'static str, of: &[(&'static str, &str)]) -> Key {
    Key::from_parts(name, of.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect::<Vec<_>>())
}
