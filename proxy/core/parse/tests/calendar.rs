//! Windows and black-outs as they are written.

use super::*;
use crate::calendar::minutes;

fn read(safety: &str) -> std::result::Result<Config, String> {
    let text = format!("[safety]\n{safety}\n");
    let mistakes = |found: Vec<Diagnostic>| {
        found.into_iter().map(|one| format!("{} {:?}", one.message, one.label)).collect::<Vec<_>>().join("; ")
    };
    config(&source(&text), &[]).map(|(config, _)| config).map_err(mistakes)
}

#[test]
fn hours_and_stretches_are_read() {
    let config = read(
        "windows = [{ days = [\"mon\", \"sun\"], from = \"22:00\", to = \"02:00\", zone = \"-05:30\" }, { from = \"00:00\", to = \"24:00\" }]\n\
         blackouts = [{ from = \"2026-12-20T00:00:00Z\", to = \"2026-12-21T00:00:00+01:00\", reason = \"sale\" }]",
    );
    let calendar = config.unwrap().safety.calendar;
    assert_eq!(calendar.windows[0].to_string(), "mon, sun 22:00 to 02:00 (-05:30)");
    assert_eq!((calendar.windows[1].days, minutes("24:00")), ([true; 7], Some(calendar.windows[1].to)));
    let length = calendar.blackouts[0].to.duration_since(calendar.blackouts[0].from).unwrap();
    assert_eq!(length.as_secs(), 23 * 3600);
}

#[test]
fn what_is_no_time_is_told() {
    for (safety, why) in [
        ("windows = [{ from = \"9:00\", to = \"16:00\" }]", "time of day"),
        ("windows = [{ days = [\"monday\"], from = \"09:00\", to = \"16:00\" }]", "monday"),
        ("windows = [{ days = [], from = \"09:00\", to = \"16:00\" }]", "never opens"),
        ("windows = [{ from = \"09:00\", to = \"16:00\", zone = \"CET\" }]", "offset"),
        ("windows = [{ from = \"09:00\" }]", "to"),
        ("blackouts = [{ from = \"2026-12-20\", to = \"2026-12-21T00:00:00Z\" }]", "a time such as"),
        ("blackouts = [{ from = \"2026-12-20T00:00:00Z\", to = \"2026-12-20T00:00:00Z\" }]", "ends after"),
        ("environment_file = \"environment\"", "absolute"),
        ("approvals = { staging = [] }", "1 to 16 names"),
    ] {
        let found = read(safety).unwrap_err();
        assert!(found.contains(why), "{safety}: {found}");
    }
}
