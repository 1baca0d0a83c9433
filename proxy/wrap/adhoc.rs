//! Faults from the command line of `squall wrap`, in the words of the language.

use squall_core::parse::{self, Filled, Line};

/// `--error 503 --first 2` and their like.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Faults {
    /// Answer with this status in the service's place
    #[arg(long, value_name = "STATUS", help_heading = "Faults")]
    error: Option<u16>,
    /// Hold each call for so long: 200ms
    #[arg(long, value_name = "DURATION", conflicts_with = "quantiles", help_heading = "Faults")]
    delay: Option<String>,
    /// Hold calls for so long: p50=200ms,p99=2s
    #[arg(long, value_name = "P=DURATION,…", help_heading = "Faults")]
    quantiles: Option<String>,
    /// Any fault, as `squall inject` has it: "sse how=truncate after=3" (`squall faults`)
    #[arg(long, value_name = "KIND KEY=VALUE…", help_heading = "Faults")]
    fault: Vec<String>,
    /// Only the first so many calls
    #[arg(long, value_name = "N", help_heading = "Faults")]
    first: Option<u64>,
    /// Every Nth call
    #[arg(long, value_name = "N", help_heading = "Faults")]
    each: Option<u64>,
    /// A share of calls: 10%
    #[arg(long, value_name = "SHARE", help_heading = "Faults")]
    percentage: Option<String>,
    /// When the faults begin, counted from the start: 10s
    #[arg(long, value_name = "DURATION", help_heading = "Faults")]
    at: Option<String>,
    /// How long they last; else as long as the program runs, an hour at most
    #[arg(long = "for", value_name = "DURATION", help_heading = "Faults")]
    duration: Option<String>,
    /// For the draws, with scenarios too: the same seed, the same decisions
    #[arg(long, value_name = "N", help_heading = "Faults")]
    pub seed: Option<u64>,
}

/// A kind, and its fields as key and value.
type Kind = (String, Vec<(String, String)>);

/// When faults end that nothing else ends.
const LONGEST: &str = "1h";

impl Faults {
    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.kinds().is_ok_and(|kinds| kinds.is_empty())
    }

    /// The text of a scenario with them, on these proxies; none: there are none.
    ///
    /// # Errors
    /// What can't be read, in words.
    pub fn scenario(&self, proxies: &[String], filled: &Filled) -> Result<Option<String>, String> {
        let kinds = self.kinds()?;
        if kinds.is_empty() {
            return if self.selects() { Err(WITHOUT.into()) } else { Ok(None) };
        }
        let mut lines = Vec::new();
        for (kind, fields) in kinds {
            for proxy in proxies {
                let name = format!("{}-{}", kind.rsplit('=').next().unwrap_or_default(), lines.len() + 1);
                let fields = fields.iter().cloned().chain(self.shared()).collect();
                lines.push(Line { name: Some(name), proxy: proxy.clone(), kind: kind.clone(), fields });
            }
        }
        let max = self.duration.as_deref().map_or(LONGEST.to_owned(), |length| self.hard_end(length));
        Ok(Some(parse::lines("wrap", &lines, &max, self.seed, filled)))
    }

    fn hard_end(&self, length: &str) -> String {
        use squall_core::unit::Duration;
        let at = self.at.as_deref().and_then(|at| at.parse::<Duration>().ok()).map_or(0, |at| at.0);
        match length.parse::<Duration>() {
            Ok(length) => parse::hard_end(&Duration(length.0.saturating_add(at)).to_string()),
            Err(_) => length.to_owned(), // to be found wrong
        }
    }

    fn selects(&self) -> bool {
        !self.shared().is_empty()
    }

    fn kinds(&self) -> Result<Vec<Kind>, String> {
        let mut kinds = Vec::new();
        if let Some(status) = self.error {
            kinds.push(("error".to_owned(), vec![("http_status".to_owned(), status.to_string())]));
        }
        if let Some(delay) = &self.delay {
            kinds.push(("latency".to_owned(), vec![("delay".to_owned(), delay.clone())]));
        }
        if let Some(quantiles) = &self.quantiles {
            let points = quantiles.split(',').map(|point| match point.split_once('=') {
                Some((p, time)) => Ok(format!("{} = \"{}\"", p.trim(), time.trim())),
                None => Err(format!("--quantiles: `{point}` is not p50=200ms")),
            });
            let table = format!("{{ {} }}", points.collect::<Result<Vec<_>, _>>()?.join(", "));
            kinds.push(("latency".to_owned(), vec![("quantiles".to_owned(), table)]));
        }
        for text in &self.fault {
            let mut words = text.split_whitespace();
            let kind = words.next().ok_or("--fault names no kind (`squall faults`)")?.to_owned();
            let fields = words.map(|word| match word.split_once('=') {
                Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
                None => Err(format!("--fault: `{word}` is not key=value")),
            });
            kinds.push((kind, fields.collect::<Result<_, _>>()?));
        }
        Ok(kinds)
    }

    /// What goes for all of them.
    fn shared(&self) -> Vec<(String, String)> {
        let number = |name: &str, value: Option<u64>| value.map(|value| (name.to_owned(), value.to_string()));
        let text = |name: &str, value: &Option<String>| value.clone().map(|value| (name.to_owned(), value));
        [
            number("first", self.first),
            number("each", self.each),
            text("percentage", &self.percentage),
            text("at", &self.at),
            text("for", &self.duration),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

const WITHOUT: &str = "--first, --each, --percentage, --at and --for speak of a fault, and there is none: --error, --delay, \
                       --quantiles or --fault says which";
