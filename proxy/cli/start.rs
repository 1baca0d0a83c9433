//! `squall start FILE|NAME`

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use squall_control::api::ExperimentLine;
use squall_control::app::Format;
use squall_control::client::{Client, ClientError};
use squall_core::{parse, read};
use squall_drill::view::{AbortReport, Event, ExperimentView, Mark, Marked, State};

use super::files::{self, Setting};
use super::fleet;
use super::follow::{self, Followed, Print};
use super::interrupt::{self, Wish};
use super::out::{say, tell};
use super::reach::Reach;
use crate::exit::{Exit, Failure, Outcome};
use crate::library;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A scenario's file, the name of one that squall brings (`squall scenarios`), or the id or name of an experiment that
    /// was handed in before (`squall submit`)
    #[arg(value_name = "FILE|NAME|ID")]
    scenario: String,
    #[command(flatten)]
    how: How,
    /// Set a parameter: name=value
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,
    #[command(flatten)]
    reach: Reach,
}

/// Whether the starter stays.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct How {
    /// Return at once; nobody renews the lease, and the experiment ends after --max
    #[arg(long, requires = "max")]
    pub(crate) detach: bool,
    /// When a detached experiment ends at the latest, as in 5m
    #[arg(long, value_name = "DURATION", requires = "detach")]
    pub(crate) max: Option<String>,
    /// Everything but act: say what would have been hit and what the guards would have done
    #[arg(long)]
    pub(crate) observe: bool,
}

pub(crate) fn run(args: Args) -> Outcome {
    let clients = match args.reach.clients() {
        Ok(clients) if clients.len() > 1 => Some(clients),
        _ => None,
    };
    if let Some(clients) = clients {
        return on_several(clients, &args);
    }
    let client = match Path::new(&args.scenario).exists() || !args.set.is_empty() {
        true => None,
        false => args.reach.client().ok(), // without one, what is wrong with the name is said first
    };
    let handed_in = client.as_ref().and_then(|client| handed_in(client, &args.scenario));
    if let Some((client, id)) = client.zip(handed_in) {
        let wishes = interrupt::listen_with_enter()?;
        return begin(client, id, None, &args.how, &wishes, &Print::default());
    }
    let scenario = text(&args.scenario)?;
    let (client, wishes) = (args.reach.client()?, interrupt::listen_with_enter()?);
    on(client, &scenario, &files::settings(args.set), &args.how, &wishes, &Print::default())
}

/// The same on each of several: a file is handed in to all, what was handed in before is started on all.
fn on_several(clients: Vec<Client>, args: &Args) -> Outcome {
    let (wishes, print) = (interrupt::listen_with_enter()?, Print::default());
    if !Path::new(&args.scenario).exists() && args.set.is_empty() {
        let ids: Vec<Option<String>> = clients.iter().map(|client| handed_in(client, &args.scenario)).collect();
        if ids.iter().any(Option::is_some) {
            let missing = clients.iter().zip(&ids).find(|(_, id)| id.is_none());
            if let Some((client, _)) = missing {
                let why =
                    format!("nothing was started: {}: nobody has handed `{}` in there", client.place(), args.scenario);
                return Err(Failure::input(why));
            }
            let member = |(client, id): (Client, String)| Remote { events: events(&client), client, id };
            let members = clients.into_iter().zip(ids.into_iter().flatten()).map(member).collect();
            return fleet::begin(members, &args.how, &wishes, &print);
        }
    }
    let scenario = text(&args.scenario)?;
    fleet::start(clients, &scenario, &files::settings(args.set.clone()), &args.how, &wishes, &print)
}

/// The experiment of this id that waits for its start, or of this name if people have to approve it: the latest that they
/// have, else the latest.
fn handed_in(client: &Client, name: &str) -> Option<String> {
    let waits = |line: &&ExperimentLine| matches!(line.state, State::Draft | State::Approved);
    let status = client.status().ok()?;
    let waiting: Vec<&ExperimentLine> = status.experiments.iter().filter(waits).collect();
    let by_id = waiting.iter().find(|line| line.id == name);
    let of_name = |line: &ExperimentLine| line.name == name && line.consent.required > 0;
    let approved = || waiting.iter().find(|line| of_name(line) && line.state == State::Approved);
    by_id.or_else(approved).or_else(|| waiting.iter().find(|line| of_name(line))).map(|line| line.id.clone())
}

/// A scenario as it is handed in.
pub(crate) struct Text {
    text: String,
    format: Format,
}

impl Text {
    pub(crate) fn toml(text: String) -> Text {
        Text { text, format: Format::Toml }
    }

    /// Hands it in.
    pub(crate) fn submit(&self, client: &Client, set: &[(String, String)]) -> Result<ExperimentView, Failure> {
        Ok(client.submit(&self.text, self.format, set)?)
    }
}

/// The text of a scenario's file, with what it names put in place, or of one that squall brings.
pub(crate) fn text(scenario: &str) -> Result<Text, Failure> {
    let path = Path::new(scenario);
    if path.exists() {
        let source = read::load(path).map_err(|mistake| files::refuse(&[mistake]))?;
        return Ok(match parse::put_in_place(&source).map_err(|mistakes| files::refuse(&mistakes))? {
            Some(whole) => Text { text: whole.to_string(), format: Format::Json },
            None => Text::toml(source.text.clone()),
        });
    }
    if let Some(shipped) = library::find(scenario) {
        return Ok(Text::toml(shipped.text.to_owned()));
    }
    Err(Failure::input(format!(
        "`{scenario}` is neither a file nor a scenario that squall brings (`squall scenarios`)"
    )))
}

/// Submits a scenario to a running squall, starts it and waits for its verdict.
pub(crate) fn on(
    client: Client,
    scenario: &Text,
    set: &[(String, String)],
    how: &How,
    wishes: &Receiver<Wish>,
    print: &Print<'_>,
) -> Outcome {
    let events = events(&client);
    let id = scenario.submit(&client, set)?.id;
    begin(client, id, Some(events), how, wishes, print)
}

/// Starts what was handed in, and waits for its verdict.
fn begin(
    client: Client,
    id: String,
    known: Option<Receiver<Event>>,
    how: &How,
    wishes: &Receiver<Wish>,
    print: &Print<'_>,
) -> Outcome {
    let events = known.unwrap_or_else(|| events(&client));
    let max = how.max.as_deref();
    let view = if how.observe { client.observe(&id, max)? } else { client.start(&id, max)? };
    if how.detach {
        say!("{}; `squall abort {}` ends it", told(&view), view.id);
        return Ok(Exit::Done);
    }
    tell!("{}", told(&view));
    follow::follow(&mut Remote { client, id, events }, wishes, print)
}

/// A start in one line.
pub(crate) fn told(view: &ExperimentView) -> String {
    let does = if view.observed { "only observes, nothing is injected" } else { "runs" };
    format!("{} {does}; seed {}", view.id, view.seed)
}

/// An experiment on a running squall.
pub(crate) struct Remote {
    pub(crate) client: Client,
    pub(crate) id: String,
    pub(crate) events: Receiver<Event>,
}

impl Followed for Remote {
    fn view(&self) -> Result<ExperimentView, Failure> {
        // what is over has no lease any more, and is looked at instead
        match self.client.renew(&self.id) {
            Err(ClientError::Refused(_)) => Ok(self.client.view(&self.id)?),
            other => Ok(other?),
        }
    }

    fn events(&mut self) -> Vec<Event> {
        let ours = |event: &Event| event.experiment.as_deref() == Some(&self.id);
        self.events.try_iter().filter(ours).collect()
    }

    fn mark(&self, mark: Mark) -> Result<Marked, Failure> {
        Ok(self.client.mark(&self.id, &mark)?)
    }

    fn abort(&self) -> Result<AbortReport, Failure> {
        Ok(self.client.abort(&self.id)?.abort)
    }

    fn report(&self) -> Result<(serde_json::Value, String), Failure> {
        Ok((self.client.report(&self.id)?, self.client.report_markdown(&self.id)?))
    }
}

/// Events as they come. Without them the figures still tell how it stands.
pub(crate) fn events(client: &Client) -> Receiver<Event> {
    let (to, events) = channel();
    if let Ok(stream) = client.events() {
        let pass_on = move || {
            for event in stream.flatten() {
                if to.send(event).is_err() {
                    return;
                }
            }
        };
        let _ = std::thread::Builder::new().name("events".into()).spawn(pass_on);
    }
    events
}
