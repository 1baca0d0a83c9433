//! Toxics, said in squall's own faults: one line per type.

use serde_json::{Map, Value, json};
use squall_core::curve::Curve;
use squall_core::fault::Flow;
use squall_core::fault::registry::{Made, kind};
use squall_core::scenario::FaultSpec;
use squall_core::select::{Count, Key};
use squall_core::window::Window;
use toml::de::DeTable;

use super::input::Object;

/// A kind of fault and its fields; or which attribute makes none, in words.
type Said = Result<(&'static str, String), String>;

/// A type of toxic: its attributes in the order in which they are shown, and the fault that it is.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) name: &'static str,
    attributes: &'static [&'static str],
    /// The kind of fault, and its fields from the attributes' values; or what no connection could survive.
    fault: fn(&[i64]) -> Said,
}

/// All types there are. A client may take no other, so squall's own kinds are not among them.
static TYPES: [Type; 8] = [
    Type { name: "latency", attributes: &["latency", "jitter"], fault: latency },
    Type { name: "bandwidth", attributes: &["rate"], fault: bandwidth },
    Type { name: "slow_close", attributes: &["delay"], fault: slow_close },
    Type { name: "timeout", attributes: &["timeout"], fault: timeout },
    Type { name: "reset_peer", attributes: &["timeout"], fault: reset_peer },
    Type { name: "slicer", attributes: &["average_size", "size_variation", "delay"], fault: slicer },
    Type { name: "limit_data", attributes: &["bytes"], fault: limit_data },
    Type { name: "noop", attributes: &[], fault: |_| Ok(("noop", String::new())) },
];

impl Type {
    pub(super) fn of(name: &str) -> Option<&'static Type> {
        TYPES.iter().find(|kind| kind.name == name)
    }
}

/// Times that clients give in ms or µs: up to ten years, as everywhere in squall.
const LONGEST_MS: i64 = 315_360_000_000;
/// 1 TB/s in the original's KB (1000 bytes) per second.
const FASTEST: i64 = 1_000_000_000;

fn span(name: &str, value: i64, unit: &str) -> Result<String, String> {
    let most = if unit == "us" { LONGEST_MS * 1_000 } else { LONGEST_MS };
    match value {
        i64::MIN..=0 => Ok("0ms".into()),
        value if value <= most => Ok(format!("{value}{unit}")),
        _ => Err(format!("`{name}` is longer than ten years")),
    }
}

fn latency(values: &[i64]) -> Said {
    let delay = span("latency", values[0], "ms")?;
    let jitter = span("jitter", values[1].saturating_abs(), "ms")?;
    // the close of a connection with nothing on its way is not delayed
    Ok(("latency", format!("delay = '{delay}'\njitter = '{jitter}'\ndistribution = 'uniform'\ndelays_close = false")))
}

fn bandwidth(values: &[i64]) -> Said {
    match values[0] {
        rate @ 0..=FASTEST => Ok(("bandwidth", format!("rate = '{rate}kB/s'"))),
        rate => Err(format!("`rate` lies between 0 and {FASTEST} KB/s, and is {rate}")),
    }
}

fn slow_close(values: &[i64]) -> Said {
    Ok(("slow_close", format!("delay = '{}'", span("delay", values[0], "ms")?)))
}

fn timeout(values: &[i64]) -> Said {
    let idle = match values[0] {
        i64::MIN..=0 => String::new(),
        timeout => format!("idle = '{}'\n", span("timeout", timeout, "ms")?),
    };
    Ok(("blackhole", format!("{idle}on_removal = 'close'")))
}

fn reset_peer(values: &[i64]) -> Said {
    Ok(("reset", format!("after = '0B'\ndelay = '{}'", span("timeout", values[0], "ms")?)))
}

/// Without attributes it slices nothing: clients post it so.
fn slicer(values: &[i64]) -> Said {
    let (size, variation) = (values[0], values[1]);
    let gap = span("delay", values[2], "us")?;
    match size {
        0 => Ok(("noop", String::new())),
        size if size < 0 => Err(format!("`average_size` is at least 1, and is {size}")),
        size if !(0..size).contains(&variation) => {
            Err(format!("`size_variation` lies between 0 and below average_size ({size}), and is {variation}"))
        }
        size => Ok(("slicer", format!("size = '{size}B'\nvariation = '{variation}B'\ngap = '{gap}'"))),
    }
}

fn limit_data(values: &[i64]) -> Said {
    match values[0] {
        bytes if bytes < 0 => Err(format!("`bytes` is at least 0, and is {bytes}")),
        bytes => Ok(("limit_data", format!("bytes = '{bytes}B'"))),
    }
}

/// A toxic as it stands.
#[derive(Clone, Debug)]
pub(super) struct Toxic {
    pub(super) name: String,
    pub(super) kind: &'static Type,
    /// As sent: clients compare it.
    pub(super) stream: String,
    pub(super) flow: Flow,
    pub(super) toxicity: f32,
    values: Vec<i64>,
}

impl Toxic {
    pub(super) fn new(name: String, kind: &'static Type, stream: String, flow: Flow) -> Toxic {
        Toxic { name, kind, stream, flow, toxicity: 1.0, values: vec![0; kind.attributes.len()] }
    }

    /// The same with what a request says about it; what it leaves out stays.
    #[allow(clippy::cast_possible_truncation)] // the original keeps 32 bits
    pub(super) fn with(mut self, request: &Object<'_>) -> Result<Toxic, String> {
        if let Some(toxicity) = request.number("toxicity")? {
            self.toxicity = toxicity as f32;
        }
        if let Some(attributes) = request.value("attributes") {
            let attributes = Object::of(attributes)?;
            for (name, value) in self.kind.attributes.iter().zip(&mut self.values) {
                *value = attributes.integer(name)?.unwrap_or(*value);
            }
        }
        Ok(self)
    }

    /// The share of connections, 0 to 100.
    pub(super) fn percentage(&self) -> f64 {
        (f64::from(self.toxicity) * 100.0).clamp(0.0, 100.0)
    }

    /// The fault that it is, on `proxy`.
    ///
    /// # Errors
    /// Which attribute makes no fault, in words.
    pub(super) fn fault(&self, proxy: &str) -> Result<FaultSpec, String> {
        let (word, fields) = (self.kind.fault)(&self.values)?;
        let entry = kind(word).ok_or_else(|| format!("there is no fault `{word}`"))?;
        let table = DeTable::parse(&fields).map_err(|error| error.to_string())?;
        let Made { fault, summary } = (entry.make)(table).map_err(|misfit| misfit.message)?;
        Ok(FaultSpec {
            name: format!("{proxy}/{}", self.name),
            preset: None,
            kind: entry.name,
            proxy: proxy.to_owned(),
            flow: Some(self.flow),
            percentage: Curve::Constant(self.percentage()),
            min_events: 0,
            key: Key::Ordinal,
            count: Count::All,
            window: Window::default(),
            min_hits: 0,
            phase: None,
            bodies: None,
            needs_http: false,
            stealth: false,
            matches: None,
            fault: Ok(fault),
            summary: format!("{summary}, {}", self.stream),
        })
    }

    /// As clients see it: every attribute of the type is there.
    pub(super) fn json(&self) -> Value {
        let attributes: Map<String, Value> = self
            .kind
            .attributes
            .iter()
            .zip(&self.values)
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        json!({
            "attributes": attributes, "name": self.name, "type": self.kind.name, "stream": self.stream,
            "toxicity": short(self.toxicity),
        })
    }
}

/// 1 and not 1.0: some clients read whole numbers as such.
#[allow(clippy::cast_possible_truncation)]
fn short(toxicity: f32) -> Value {
    if toxicity.fract() == 0.0 && toxicity.abs() < 1e9 {
        return Value::from(toxicity as i64);
    }
    toxicity.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
