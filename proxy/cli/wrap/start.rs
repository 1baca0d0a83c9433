//! What `squall wrap` has act: scenarios by name or file, and faults from the command line.

use std::path::{Path, PathBuf};

use squall_control::app::Format;
use squall_core::config::Safety;
use squall_core::parse::Filled;
use squall_core::plane::DataPlane;
use squall_core::scenario::{Checked, NONE_STATED};
use squall_core::who::Identity;
use squall_drill::engine::Keep;

use super::Args;
use crate::cli::files;
use crate::cli::mark::user;
use crate::cli::out::tell;
use crate::exit::Failure;
use crate::language;
use crate::library;
use crate::wrap::hosts::HOST;
use crate::wrap::session::Session;

/// The scenarios of `--with`.
pub(super) fn scenarios(args: &Args, set: &[(String, String)]) -> Result<Vec<Checked>, Failure> {
    if args.with.is_empty() {
        return match set.is_empty() {
            true => Ok(Vec::new()),
            false => Err(Failure::input("--set is for a scenario: --with says which")),
        };
    }
    if let Some(unknown) = args.with.iter().find(|it| !it.exists() && library::find(&it.to_string_lossy()).is_none()) {
        let why = "is neither a file nor a scenario that squall brings (`squall scenarios`)";
        return Err(Failure::input(format!("--with {}: {why}", unknown.display())));
    }
    let paths: Vec<&Path> = args.with.iter().map(PathBuf::as_path).collect();
    let mut scenarios = files::load(&paths, set)?.scenarios;
    if scenarios.len() < args.with.len() {
        return Err(Failure::input("--with takes scenarios (they have `name` and `[[fault]]`)"));
    }
    if let Some(seed) = args.faults.seed {
        scenarios.iter_mut().for_each(|scenario| scenario.seed = Some(seed));
    }
    Ok(scenarios)
}

/// Starts all of them; their ids.
pub(super) fn start(session: &Session, args: &Args, mut scenarios: Vec<Checked>) -> Result<Vec<String>, Failure> {
    scenarios.extend(of_command_line(session, args)?);
    let (engine, who) = (session.wired.engine(), Identity::local());
    let mut ids = Vec::new();
    for scenario in scenarios {
        let id = engine.submit(scenario, &who)?.id;
        let view = engine.start(&id, Keep::Owned, &who)?;
        tell!("squall: {}", crate::cli::start::told(&view));
        ids.push(id);
    }
    if ids.is_empty() {
        tell!("squall: nothing is injected, this run only looks");
    }
    Ok(ids)
}

/// The scenario of `--error` and its like, with what it has to say, which is shown.
fn of_command_line(session: &Session, args: &Args) -> Result<Option<Checked>, Failure> {
    let filled = Filled { owner: user().unwrap_or_else(|| "squall wrap".into()), environment: "local".into() };
    let mut proxies: Vec<String> = args.only.iter().map(|only| format!("{HOST}{}", only.name)).collect();
    if proxies.is_empty() {
        proxies.extend(args.map.iter().map(|map| format!("{HOST}{}", map.host.name)));
    }
    if proxies.is_empty() {
        proxies.push(format!("{HOST}*"));
    }
    proxies.dedup();
    let Some(text) = args.faults.scenario(&proxies, &filled).map_err(Failure::input)? else { return Ok(None) };
    tell!(
        "squall: owner {}; hypothesis: {NONE_STATED}; environments: {}; guard: connection_error_rate above 50%",
        filled.owner,
        filled.environment
    );
    let running = session.wired.plane().proxies();
    let checked = language::request(&text, Format::Toml, &[], running, Safety::default());
    checked.map(Some).map_err(|mistakes| files::refuse(&mistakes))
}
