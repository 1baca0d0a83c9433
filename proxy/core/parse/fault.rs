//! `[[fault]]`

use std::sync::Arc;

use super::draft::{Direction, FaultHead, KeyWord, LayerWord, is_name};
use super::node::{Node, Table, Value};
use super::reader::{Reader, item, join};
use super::words;
use super::world::{Known, World};
use crate::curve::{Curve, Exposure};
use crate::diagnostic::Diagnostic;
use crate::fault::registry::{Entry, KINDS, Made, kind};
use crate::fault::{AnyFault, Carrier, Flow, Handshake};
use crate::ladder::{MIN_EVENTS, MOST_STEPS};
use crate::matcher::MatchSpec;
use crate::preset::{self, Link, Part};
use crate::scenario::{ASKS_NOBODY, FaultSpec, Phase};
use crate::select::{Count, Key};
use crate::unit::Percentage;
use crate::window::Window;

/// The fields that every fault has; a kind's own can't have these names.
pub(crate) const COMMON: &[&str] = &[
    "name",
    "kind",
    "preset",
    "proxy",
    "direction",
    "percentage",
    "key",
    "at",
    "for",
    "every",
    "times",
    "first",
    "nth",
    "each",
    "min_hits",
    "phase",
    "match",
    "layer",
    "stealth",
];

/// Reads and checks one table: a fault, or the parts of a preset.
pub(crate) fn read(
    reader: &mut Reader,
    table: &Table,
    index: usize,
    world: &World,
    max_percentage: Option<f64>,
) -> Vec<FaultSpec> {
    let path = item("fault", table, index);
    let (common, own) = table.split(|key| COMMON.contains(&key));
    let makings = makings(reader, table, &own, &path);
    let head: Option<FaultHead> = reader.read(&common, &path);
    if let Some(proxy) = table.text("proxy") {
        check_proxy(reader, table, &path, proxy, world);
    }
    let (Some(makings), Some(head)) = (makings, head) else { return Vec::new() };
    check_direction(reader, table, &path, &head, &makings);
    for entry in makings.iter().map(|making| making.entry) {
        for field in entry.whom.refuses().iter().filter(|field| table.has(field)) {
            let message = format!("`{field}` says nothing here: `{}` is {}", entry.name, entry.whom.words());
            reader.error(table, &path, field, message);
        }
    }
    let window = window(reader, table, &path, &head);
    let count = count(reader, table, &path, &head);
    let everybody = Exposure { curve: Curve::Constant(Percentage(100.0)), min_events: None };
    let Exposure { curve, min_events } = head.percentage.clone().unwrap_or(everybody);
    let percentage = curve.map(|share| share.0);
    let Some(count) = count else { return Vec::new() };
    check_percentage(reader, table, &path, &percentage, count, max_percentage);
    let http = http_words(&head, makings.iter().find_map(|making| making.entry.is_http_only().then_some(making.entry)));
    if let Some((field, what)) = http.first()
        && world.named(&head.proxy).next().is_some()
        && !world.named(&head.proxy).any(Known::may_be_http)
    {
        let message = format!("{what} needs HTTP, and `{}` carries bytes: this fault could never act", head.proxy);
        let help = "give the proxy `protocol = \"http\"`, or leave it out";
        reader.at(Diagnostic::error(message).help(help), table, &path, field);
    }
    check_match(reader, table, &path, &head, world);
    check_handshake(reader, table, &path, &head, &makings, world);
    check_asking(reader, table, &path, &head, &makings, world);
    makings.iter().for_each(|making| check_layer(reader, table, &path, &head, making.entry));
    for making in &makings {
        check_carrier(reader, table, &path, &head, making, !http.is_empty(), world);
        if let Some(made) = &making.made {
            check_groups(reader, table, &path, made.fault.as_ref(), world);
        }
    }
    let Some(window) = window else { return Vec::new() };
    let min_events = min_events.unwrap_or(MIN_EVENTS);
    let shared = Shared { percentage, min_events, count, window, needs_http: !http.is_empty() };
    makings.into_iter().filter_map(|making| making.spec(&head, &shared)).collect()
}

/// What the faults of one table have in common, beside its head.
struct Shared {
    percentage: Curve<f64>,
    min_events: u64,
    count: Count,
    window: Window,
    needs_http: bool,
}

/// One fault of a table.
struct Making {
    entry: &'static Entry,
    /// None: its fields are wrong, and that is on record.
    made: Option<Made>,
    /// The preset's own name, and what this part is called and does.
    part: Option<(String, Part)>,
}

impl Making {
    /// The phase of an exchange in which it acts; none: it acts on connections.
    fn phase(&self, head: &FaultHead) -> Option<Phase> {
        if head.layer == Some(LayerWord::Bytes) {
            return None;
        }
        let usual = || self.made.as_ref().and_then(|made| made.fault.usual_phase());
        head.phase.or_else(usual).or(self.entry.phases.first().copied())
    }

    fn spec(self, head: &FaultHead, shared: &Shared) -> Option<FaultSpec> {
        let phase = self.phase(head);
        let Made { fault, summary } = self.made?;
        let written = head.direction.map(flow);
        let named = head.name.as_ref().map(|name| name.0.clone());
        let min_hits = head.min_hits.unwrap_or(1);
        let (name, preset, flow, min_hits) = match self.part {
            None => (named.unwrap_or(self.entry.name.into()), None, written.unwrap_or(self.entry.direction), min_hits),
            Some((_, part)) if written.flatten().is_some_and(|flow| flow != part.flow) => return None,
            Some((preset, part)) => {
                let name = format!("{preset}-{}", part.suffix);
                (name, Some(preset), Some(part.flow), if part.counts { min_hits } else { 0 })
            }
        };
        Some(FaultSpec {
            name,
            preset,
            kind: self.entry.name,
            proxy: head.proxy.clone(),
            flow,
            percentage: shared.percentage.clone(),
            min_events: shared.min_events,
            key: head.key.clone().map_or(Key::Ordinal, |KeyWord(key)| key),
            count: shared.count,
            window: shared.window,
            min_hits,
            phase,
            bodies: match written {
                Some(written) => written,
                None => flow.or(Some(Flow::Downstream)),
            },
            needs_http: shared.needs_http,
            stealth: head.stealth.unwrap_or_default(),
            matches: head.matches.clone().map(Arc::new),
            fault: Ok(fault),
            summary,
        })
    }
}

/// None: both.
fn flow(direction: Direction) -> Option<Flow> {
    match direction {
        Direction::Both => None,
        Direction::Upstream => Some(Flow::Upstream),
        Direction::Downstream => Some(Flow::Downstream),
    }
}

/// Refuses a direction in which a kind can do nothing.
fn check_direction(reader: &mut Reader, table: &Table, path: &str, head: &FaultHead, makings: &[Making]) {
    let Some(written) = head.direction.map(flow) else { return };
    for Making { entry, part, .. } in makings {
        if let (Some(why), None) = (entry.one_way, part)
            && written != entry.direction
        {
            let message = format!("`{}` acts {} only: {why}", entry.name, entry.direction_word());
            reader.error(table, path, "direction", message);
        }
    }
}

/// The names that the faults of a table will have.
pub(crate) fn names(table: &Table) -> Vec<String> {
    match table.text("preset").and_then(preset::find) {
        Some(link) => {
            let name = preset_name(table);
            link.parts().iter().map(|part| format!("{name}-{}", part.suffix)).collect()
        }
        None => table.called().map(str::to_owned).into_iter().collect(),
    }
}

/// The name of a preset: its own, with what no name may have replaced, unless one is written.
fn preset_name(table: &Table) -> String {
    let name = table.called().unwrap_or_default();
    name.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect()
}

/// What a table makes, by its kind or preset.
fn makings(reader: &mut Reader, table: &Table, own: &Table, path: &str) -> Option<Vec<Making>> {
    if !table.has("preset") {
        if !table.has("kind") {
            let help = "or `preset`: `squall faults` lists both";
            let field = join(path, "kind");
            reader.push(Diagnostic::error("`kind` is missing").help(help), &field, table.span.clone());
        }
        let entry = known_kind(reader, table, path)?;
        return Some(vec![Making { entry, made: (entry.read)(reader, own, path), part: None }]);
    }
    if table.has("kind") {
        reader.error(table, path, "preset", "`preset` stands in place of `kind`: write one of them");
        return None;
    }
    let link = known_preset(reader, table, path)?;
    for entry in &own.entries {
        let key = &entry.key;
        let mut diagnostic = Diagnostic::error(format!("unknown field `{key}`: a preset says everything by itself"));
        diagnostic.help = words::nearest(key, COMMON.iter().copied()).map(words::did_you_mean);
        reader.push(diagnostic, &join(path, key), entry.key_span.clone());
    }
    let name = preset_name(table);
    if let Some(long) = names(table).iter().find(|name| !is_name(name)) {
        let message =
            format!("the preset's faults would have names such as `{long}`, and a name has up to 63 characters");
        reader.error(table, path, if table.has("name") { "name" } else { "preset" }, message);
        return None;
    }
    let making = |part: Part| {
        let entry = kind(part.kind)?;
        let text = |(key, value): &(&'static str, String)| {
            let node = Node { value: Value::Text(value.clone()), span: None };
            super::node::Entry { key: (*key).to_owned(), key_span: None, node }
        };
        let fields = Table { entries: part.fields.iter().map(text).collect(), span: table.span.clone() };
        Some(Making { entry, made: (entry.read)(reader, &fields, path), part: Some((name.clone(), part)) })
    };
    link.parts().into_iter().map(making).collect()
}

fn known_preset(reader: &mut Reader, table: &Table, path: &str) -> Option<Link> {
    let name = table.text("preset")?;
    if let Some(link) = preset::find(name) {
        return Some(link);
    }
    let mut diagnostic = Diagnostic::error(format!("there is no preset `{name}`"));
    let pairs = std::iter::once("aws:REGION/REGION");
    diagnostic.label = Some(words::expected(preset::listed().map(|(name, _)| *name).chain(pairs)));
    let all = preset::names();
    diagnostic.help = match name.strip_prefix("aws:").and_then(|pair| pair.split_once('/')) {
        Some((one, other)) if one == other => Some("inside a region it is `aws:within-region`".into()),
        _ => words::nearest(name, all.iter().map(String::as_str)).map(words::did_you_mean),
    };
    reader.at(diagnostic, table, path, "preset");
    None
}

fn known_kind(reader: &mut Reader, table: &Table, path: &str) -> Option<&'static Entry> {
    let name = table.text("kind")?;
    if let Some(entry) = kind(name) {
        return Some(entry);
    }
    let names = || KINDS.iter().map(|entry| entry.name);
    let mut diagnostic = Diagnostic::error(format!("there is no fault of the kind `{name}`"));
    diagnostic.label = Some(words::expected(names()));
    let elsewhere = match name {
        "abort" => Some("error"),
        "timeout" | "drop" => Some("blackhole"),
        "reset_peer" => Some("reset"),
        "delay" => Some("latency"),
        "rate" | "throttle" => Some("bandwidth"),
        _ => None,
    };
    diagnostic.help = words::nearest(name, names()).or(elsewhere).map(words::did_you_mean);
    reader.at(diagnostic, table, path, "kind");
    None
}

fn window(reader: &mut Reader, table: &Table, path: &str, head: &FaultHead) -> Option<Window> {
    let at = head.at.map_or(0, |at| at.0);
    let length = head.length.map(|length| length.0);
    let every = head.every.map(|every| every.0);
    let window = Window { at, length, every, times: head.times };
    let mut wrong = |key: &str, message: &str| {
        reader.error(table, path, key, message);
        None
    };
    if length == Some(0) {
        return wrong("for", "a fault that acts for no time can do nothing");
    }
    match (every, length, head.times) {
        (None, _, Some(_)) => return wrong("times", "`times` needs `every`: how far apart the openings are"),
        (Some(_), None, _) => return wrong("every", "`every` needs `for`: how long each opening lasts"),
        (Some(every), Some(length), _) if length >= every => {
            return wrong("every", "`every` must be longer than `for`, or the openings run into each other");
        }
        (_, _, Some(0)) => return wrong("times", "`times` counts from 1"),
        _ => {}
    }
    let rounds = every.unwrap_or(0).checked_mul(head.times.map_or(0, |times| times - 1));
    let end = rounds.and_then(|rounds| at.checked_add(rounds)?.checked_add(length.unwrap_or(0)));
    if end.is_none_or(|end| end > crate::unit::Duration::MAX.0) {
        let key = if every.is_some() { "times" } else { "for" };
        return wrong(key, "the last opening would end more than ten years from now");
    }
    Some(window)
}

fn count(reader: &mut Reader, table: &Table, path: &str, head: &FaultHead) -> Option<Count> {
    let counts = [
        head.first.map(|n| ("first", n, Count::First(n))),
        head.nth.map(|n| ("nth", n, Count::Nth(n))),
        head.each.map(|n| ("each", n, Count::Each(n))),
    ];
    let mut written = counts.into_iter().flatten();
    let Some((key, n, count)) = written.next() else {
        return Some(Count::All);
    };
    if n == 0 {
        reader.error(table, path, key, format!("`{key}` counts from 1"));
        return None;
    }
    if let Some((other, ..)) = written.next() {
        reader.error(table, path, other, format!("`{other}` and `{key}` exclude each other"));
        return None;
    }
    Some(count)
}

fn check_percentage(
    reader: &mut Reader,
    table: &Table,
    path: &str,
    percentage: &Curve<f64>,
    count: Count,
    max: Option<f64>,
) {
    let values = percentage.values().into_iter().copied();
    let most = values.fold(0.0, f64::max);
    if most <= 0.0 {
        reader.error(table, path, "percentage", "a fault at 0 % can do nothing");
    }
    if percentage.values().len() > MOST_STEPS {
        reader.error(table, path, "percentage", format!("a ladder has at most {MOST_STEPS} steps"));
    }
    if let Some(max) = max
        && count == Count::All
        && most > max
    {
        let message = format!("the fault selects up to {most} % of units, and `max_percentage` is {max} %");
        let help = "a fault limited by `first`, `nth` or `each` is held against `max_active_faults` only";
        reader.at(Diagnostic::error(message).help(help), table, path, "percentage");
    }
}

fn check_proxy(reader: &mut Reader, table: &Table, path: &str, proxy: &str, world: &World) {
    if let Some(host) = proxy.strip_prefix("host:") {
        if host.is_empty() || host.bytes().any(|byte| byte.is_ascii_whitespace()) {
            reader.error(table, path, "proxy", "`host:` needs a host name, as in `host:api.example.com`");
        }
        return;
    }
    reference(reader, table, path, "proxy", proxy, world);
}

/// Groups say themselves which way they cut, and have to cut something.
fn check_groups(reader: &mut Reader, table: &Table, path: &str, fault: &dyn AnyFault, world: &World) {
    let Some(groups) = fault.groups() else { return };
    if table.has("direction") {
        let message = "`direction` speaks of one proxy, and between groups proxies lead both ways";
        let help = "`one_way = true` cuts only what the first group sends to the others";
        reader.at(Diagnostic::error(message).help(help), table, path, "direction");
    }
    let links: Vec<_> = world.named(table.text("proxy").unwrap_or_default()).map(Known::link).collect();
    if !links.is_empty()
        && let Err(why) = groups.cuts(&links)
    {
        reader.error(table, path, "groups", why);
    }
}

/// Checks a name or glob of a proxy.
pub(crate) fn reference(reader: &mut Reader, table: &Table, path: &str, key: &str, proxy: &str, world: &World) {
    if !is_name(&proxy.replace('*', "x")) {
        let help = "names are small letters, digits and `-`; `*` stands for any of them";
        let message = format!("{proxy:?} is not the name of a proxy");
        reader.at(Diagnostic::error(message).help(help), table, path, key);
        return;
    }
    if world.named(proxy).next().is_some() {
        return;
    }
    if !world.strict {
        let message = format!("proxy `{proxy}` is defined in none of the files: resolved at start");
        reader.at(Diagnostic::note(message), table, path, key);
        return;
    }
    let mut diagnostic = Diagnostic::error(if proxy.contains('*') {
        format!("no proxy matches `{proxy}`")
    } else {
        format!("there is no proxy `{proxy}`")
    });
    diagnostic.help = world.nearest_proxy(proxy);
    reader.at(diagnostic, table, path, key);
}

/// Refuses a kind, or a field of it, that can do nothing on a proxy of this protocol. `needs_http`: it acts on exchanges
/// wherever it acts.
fn check_carrier(
    reader: &mut Reader,
    table: &Table,
    path: &str,
    head: &FaultHead,
    making: &Making,
    needs_http: bool,
    world: &World,
) {
    let (entry, made) = (making.entry, making.made.as_ref());
    let phase = making.phase(head).filter(|_| !entry.phases.is_empty());
    let on_exchanges = |known: &Known| needs_http || (phase.is_some() && known.may_be_http());
    if let Some(phase) = phase.filter(|_| needs_http || world.named(&head.proxy).any(on_exchanges))
        && let Some((field, why)) = made.and_then(|made| made.fault.misfit_in(phase))
    {
        reader.error(table, path, field, format!("in the phase `{}` of an exchange: {why}", phase.word()));
    }
    let mut seen = Vec::new();
    for known in world.named(&head.proxy).filter(|known| !on_exchanges(known)) {
        let carrier = known.carrier();
        if seen.contains(&carrier) {
            continue;
        }
        seen.push(carrier);
        let what = match carrier {
            Carrier::Stream => "connections",
            Carrier::Datagrams => "datagrams",
        };
        if !entry.hooks.serve(carrier) {
            let message = format!("`{}` can do nothing on proxy `{}`, which carries {what}", entry.name, known.name);
            let mut diagnostic = Diagnostic::error(message);
            let fit = KINDS.iter().filter(|other| other.hooks.serve(carrier));
            diagnostic.help = Some(words::expected(fit.map(|entry| entry.name)));
            reader.at(diagnostic, table, path, "kind");
        } else if let Some((field, why)) = made.and_then(|made| made.fault.misfit(carrier)) {
            let message = format!("on proxy `{}`, which carries {what}: {why}", known.name);
            reader.error(table, path, field, message);
        }
    }
}

/// Refuses what needs a TLS handshake where none is seen.
fn check_handshake(
    reader: &mut Reader,
    table: &Table,
    path: &str,
    head: &FaultHead,
    makings: &[Making],
    world: &World,
) {
    let needs = |making: &Making| making.made.as_ref().map(|made| made.fault.handshake());
    let by_kind = makings.iter().filter_map(needs).max().unwrap_or_default();
    let by_rule = head.matches.as_ref().is_some_and(MatchSpec::needs_hello);
    for known in world.named(&head.proxy) {
        if let Some(why) = by_kind.misses(known.tls) {
            let field = if table.has("flaw") { "flaw" } else { "kind" };
            return reader.error(table, path, field, format!("it can do nothing on proxy `{}`: {why}", known.name));
        }
        if by_rule && let Some(why) = Handshake::Seen.misses(known.tls) {
            return reader.error(table, path, "match", format!("on proxy `{}` it can't be told: {why}", known.name));
        }
    }
}

/// Refuses what clients have to ask for where none may.
fn check_asking(reader: &mut Reader, table: &Table, path: &str, head: &FaultHead, makings: &[Making], world: &World) {
    let is_asked_for = |making: &Making| making.made.as_ref().is_some_and(|made| made.fault.asked_for().is_some());
    if makings.iter().any(is_asked_for)
        && let Some(known) = world.named(&head.proxy).filter(|known| known.may_be_http()).find(|known| !known.lets_ask)
    {
        let why = format!("it can do nothing on proxy `{}`: {ASKS_NOBODY}", known.name);
        reader.error(table, path, "kind", why);
    }
}

/// What of a fault only HTTP has: the field and what it is called.
fn http_words(head: &FaultHead, http_only: Option<&Entry>) -> Vec<(&'static str, String)> {
    let mut words = Vec::new();
    if let Some(entry) = http_only {
        words.push(("kind", format!("the kind `{}`", entry.name)));
    }
    if let Some(KeyWord(Key::Http(key))) = &head.key {
        words.push(("key", format!("the key `{key}`")));
    }
    if head.matches.as_ref().is_some_and(MatchSpec::needs_http) {
        words.push(("match", "`match`".into()));
    }
    if head.phase.is_some() {
        words.push(("phase", "`phase`".into()));
    }
    if head.layer == Some(LayerWord::Http) {
        words.push(("layer", "`layer = \"http\"`".into()));
    }
    words
}

/// Refuses what a kind can't do, or what would say nothing, where it acts on connections.
fn check_layer(reader: &mut Reader, table: &Table, path: &str, head: &FaultHead, entry: &Entry) {
    if let (Some(phase), false) = (head.phase, entry.phases.is_empty())
        && !entry.phases.contains(&phase)
    {
        let mut diagnostic = Diagnostic::error(format!("`{}` can't act in this phase", entry.name));
        diagnostic.label = Some(words::expected(entry.phases.iter().map(|phase| phase.word())));
        return reader.at(diagnostic, table, path, "phase");
    }
    let beneath = head.layer == Some(LayerWord::Bytes);
    if beneath && entry.is_http_only() {
        return reader.error(table, path, "layer", format!("`{}` acts on HTTP exchanges only", entry.name));
    }
    if !beneath && !entry.phases.is_empty() {
        return;
    }
    let why = match beneath {
        true => "`layer = \"bytes\"` makes it act on connections".to_owned(),
        false => format!("`{}` acts on connections", entry.name),
    };
    let about_exchanges = [
        ("phase", head.phase.is_some()),
        ("match", head.matches.as_ref().is_some_and(MatchSpec::needs_http)),
        ("key", matches!(head.key, Some(KeyWord(Key::Http(_))))),
        ("layer", head.layer == Some(LayerWord::Http)),
        ("stealth", head.stealth.is_some()),
    ];
    for (field, _) in about_exchanges.into_iter().filter(|(_, written)| *written) {
        reader.error(table, path, field, format!("`{field}` is about HTTP exchanges, and {why}"));
    }
}

fn check_match(reader: &mut Reader, table: &Table, path: &str, head: &FaultHead, world: &World) {
    let Some(rule) = &head.matches else {
        return;
    };
    let inner = table.node("match").and_then(Node::as_table).unwrap_or(table);
    let path = join(path, "match");
    if let Some((field, why)) = rule.impossible() {
        reader.error(inner, &path, field, format!("this rule can match nothing: {why}"));
    }
    if let Some(glob) = world.never_fault.swallows(rule) {
        let message =
            format!("this fault could never act: `never_fault` of the configuration has `{glob}`, and always wins");
        reader.error(inner, &path, "path", message);
    }
    let early = matches!(head.phase, None | Some(Phase::BeforeConnect | Phase::BeforeUpstream));
    if early && rule.needs_answer() {
        let field = if rule.status.is_some() { "status" } else { "response_headers" };
        let message = "this rule can match nothing: there is no answer yet in this phase";
        let help = "give `phase = \"after_upstream_head\"`, `\"mid_body\"` or `\"after_upstream\"`";
        reader.at(Diagnostic::error(message).help(help), inner, &path, field);
    }
}
