//! Network presets: links by name, as `[[fault]] preset = "…"` puts them on a proxy. Each is several faults: latency and,
//! where the link has a rate or loses anything, bandwidth and loss, in each direction.

use crate::fault::Flow;
use crate::unit::Duration;

/// A link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// kbit/s down (towards the client) and up (towards the server); none: as fast as it is.
    pub rate: Option<(u32, u32)>,
    /// How long bytes are under way.
    pub latency: Latency,
    /// How much gets lost in each direction, percent.
    pub loss: u32,
    /// Where the figures come from.
    pub source: &'static str,
    /// When they were taken or, if their source has no date, looked up: year and month.
    pub as_of: &'static str,
}

/// The time that bytes are under way, from the least to the most, µs; every time between is as likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// There and back: each direction gets half.
    RoundTrip(u32, u32),
    /// Each direction.
    OneWay(u32, u32),
}

/// One of the faults that a preset stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What follows the preset's name in the fault's.
    pub suffix: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// Its direction.
    pub flow: Flow,
    /// The kind's own fields.
    pub fields: Vec<(&'static str, String)>,
    /// Whether `min_hits` is held against it.
    pub counts: bool,
}

const DEVTOOLS: &str = "Chrome DevTools, the figures aimed at before its own factors";
const LIGHTHOUSE: &str = "Lighthouse, docs/throttling.md; DevTools has the same";
const WEBPAGETEST: &str = "WebPageTest, connectivity.ini.sample";
const APPLE: &str = "Apple Network Link Conditioner, Very Bad Network";
const ATC: &str = "Augmented Traffic Control, 2G - Developing Rural";
const GEOSTATIONARY: &str = "usual for a geostationary satellite: the light alone takes 477 ms there and back";

const fn link(down: u32, up: u32, round_trip_ms: u32, source: &'static str) -> Link {
    let us = round_trip_ms * 1_000;
    Link { rate: Some((down, up)), latency: Latency::RoundTrip(us, us), loss: 0, source, as_of: "2026-11" }
}

const fn lossy(down: u32, up: u32, one_way_ms: u32, loss: u32, source: &'static str) -> Link {
    let us = one_way_ms * 1_000;
    Link { rate: Some((down, up)), latency: Latency::OneWay(us, us), loss, source, as_of: "2026-11" }
}

/// Links of people at home and on the road, by name.
pub const LINKS: &[(&str, Link)] = &[
    ("slow-3g", link(500, 500, 400, DEVTOOLS)),
    ("slow-4g", link(1_600, 750, 150, LIGHTHOUSE)),
    ("fast-4g", link(9_000, 1_500, 60, DEVTOOLS)),
    ("wpt-3g", link(1_600, 768, 300, WEBPAGETEST)),
    ("wpt-lte", link(12_000, 12_000, 70, WEBPAGETEST)),
    ("wpt-cable", link(5_000, 1_000, 28, WEBPAGETEST)),
    ("wpt-dsl", link(1_500, 384, 50, WEBPAGETEST)),
    ("wpt-fios", link(20_000, 5_000, 4, WEBPAGETEST)),
    ("edge", link(240, 200, 840, WEBPAGETEST)),
    ("very-bad", lossy(1_000, 1_000, 500, 10, APPLE)),
    ("2g-rural", lossy(20, 18, 650, 2, ATC)),
    ("geo-satellite", link(1_000, 256, 600, GEOSTATIONARY)),
];

/// Where the figures about AWS come from.
const AWS: &str = "pings between AWS regions over one year: medians, or from the least to the most";

const fn aws(least_us: u32, most_us: u32) -> Link {
    Link { rate: None, latency: Latency::RoundTrip(least_us, most_us), loss: 0, source: AWS, as_of: "2025-07" }
}

/// Inside AWS, by name.
pub const AWS_INSIDE: &[(&str, Link)] =
    &[("aws:within-region", aws(2_800, 5_500)), ("aws:across-zones", aws(250, 3_400))];

/// The AWS regions of [`AWS_ROUND_TRIPS`].
pub const AWS_REGIONS: [&str; 10] = [
    "us-east-1",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "ap-southeast-1",
    "ap-northeast-1",
    "ap-southeast-2",
    "ap-south-1",
    "sa-east-1",
    "af-south-1",
];

/// Median round trips in ms from each of [`AWS_REGIONS`] but the last to all those after it.
pub const AWS_ROUND_TRIPS: [&[u32]; 9] = [
    &[64, 70, 93, 220, 150, 200, 193, 115, 228],
    &[118, 143, 160, 98, 141, 222, 175, 275],
    &[27, 179, 202, 256, 126, 178, 160],
    &[160, 227, 251, 129, 204, 156],
    &[71, 95, 64, 328, 317],
    &[107, 134, 258, 358],
    &[155, 312, 409],
    &[301, 274],
    &[339],
];

/// The link of this name; the two regions of `aws:REGION/REGION` stand in either order.
pub fn find(name: &str) -> Option<Link> {
    let listed = LINKS.iter().chain(AWS_INSIDE).find(|(listed, _)| *listed == name);
    listed.map(|(_, link)| *link).or_else(|| {
        let (one, other) = name.strip_prefix("aws:")?.split_once('/')?;
        let region = |name| AWS_REGIONS.iter().position(|region| *region == name);
        let (one, other) = (region(one)?, region(other)?);
        let (first, second) = (one.min(other), one.max(other));
        let ms = AWS_ROUND_TRIPS.get(first)?.get(second.checked_sub(first + 1)?)?;
        Some(aws(ms * 1_000, ms * 1_000))
    })
}

/// The presets that have a name of their own, with their links.
pub fn listed() -> impl Iterator<Item = &'static (&'static str, Link)> {
    LINKS.iter().chain(AWS_INSIDE)
}

/// `aws:REGION/REGION` for all pairs in both orders.
pub fn aws_pairs() -> impl Iterator<Item = String> {
    let pairs = AWS_REGIONS.iter().flat_map(|one| AWS_REGIONS.iter().map(move |other| (one, other)));
    pairs.filter(|(one, other)| one != other).map(|(one, other)| format!("aws:{one}/{other}"))
}

/// Every name of a preset.
pub fn names() -> Vec<String> {
    listed().map(|(name, _)| (*name).to_owned()).chain(aws_pairs()).collect()
}

impl Link {
    /// The faults that make it, for both directions.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for (flow, latency, bandwidth, loss) in [
            (Flow::Upstream, "latency-up", "bandwidth-up", "loss-up"),
            (Flow::Downstream, "latency-down", "bandwidth-down", "loss-down"),
        ] {
            parts.push(Part { suffix: latency, kind: "latency", flow, fields: self.latency.fields(), counts: true });
            if let Some((down, up)) = self.rate {
                let rate = if flow == Flow::Upstream { up } else { down };
                let fields = vec![("rate", bits(rate))];
                // every byte passes the latency too, which counts it: whether it had to wait for its turn is another thing
                parts.push(Part { suffix: bandwidth, kind: "bandwidth", flow, fields, counts: false });
            }
            if self.loss > 0 {
                let fields = vec![("share", format!("{}%", self.loss))];
                // a few percent of little traffic may rightly be nothing
                parts.push(Part { suffix: loss, kind: "loss", flow, fields, counts: false });
            }
        }
        parts
    }

    /// One line: `500kbit down, 500kbit up, 400ms round trip`.
    pub fn about(&self) -> String {
        let mut words = self.latency.about();
        if let Some((down, up)) = self.rate {
            words = format!("{} down, {} up, {words}", bits(down), bits(up));
        }
        if self.loss > 0 {
            words.push_str(&format!(", {}% lost each way", self.loss));
        }
        words
    }
}

impl Latency {
    /// `400ms round trip`
    pub fn about(self) -> String {
        let (Latency::RoundTrip(least, most) | Latency::OneWay(least, most)) = self;
        let way = if matches!(self, Latency::RoundTrip(..)) { "round trip" } else { "one way" };
        match least == most {
            true => format!("{} {way}", us(least)),
            false => format!("{} to {} {way}", us(least), us(most)),
        }
    }

    /// The fields of the latency of one direction.
    fn fields(self) -> Vec<(&'static str, String)> {
        let (least, most) = match self {
            Latency::RoundTrip(least, most) => (us(least).0 / 2, us(most).0 / 2),
            Latency::OneWay(least, most) => (us(least).0, us(most).0),
        };
        let mut fields = vec![("delay", Duration(u64::midpoint(least, most)).to_string())];
        if most > least {
            fields.push(("jitter", Duration((most - least) / 2).to_string()));
        }
        fields
    }
}

/// A rate in kbit/s as the language has it.
fn bits(rate: u32) -> String {
    if rate.is_multiple_of(1_000) { format!("{}mbit", rate / 1_000) } else { format!("{rate}kbit") }
}

fn us(time: u32) -> Duration {
    Duration(u64::from(time) * 1_000)
}

#[cfg(test)]
mod tests;
