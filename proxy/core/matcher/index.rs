//! Which of many rules may hold for a request at all, without looking at each of them.
//!
//! Each rule stands under one of its necessary conditions (its *access predicate*: Fabret et al., "Filtering algorithms and
//! implementation for very fast publish/subscribe systems", SIGMOD 2001): under the one that the fewest other rules share.
//! A request is taken apart once, and each of its parts (whole path, leading segments, host, name of a field, a field's name
//! and value …) is looked up by its hash. What comes back may be wrong, as hashes collide, but never misses a rule.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;

use super::Network;
use super::condition::{Condition, Rule, TextCondition, View};
use super::pattern::{Subject, Text, host_suffix, path_prefix};

/// Rules by what must be there for them to hold.
#[derive(Debug, Default)]
pub(super) struct Index {
    buckets: HashMap<u64, Bucket, BuildHasherDefault<AsItIs>>,
    /// Those of which nothing can be looked up.
    rest: Vec<u32>,
    watched: Watched,
}

#[derive(Debug, Default)]
struct Bucket {
    rules: Vec<u32>,
    /// Whether some rule wants a value behind this name.
    values: bool,
}

/// Which parts of a request are looked up.
#[derive(Debug, Default)]
struct Watched {
    method: bool,
    status: bool,
    whole_path: bool,
    /// Leading segments, at most.
    segments: usize,
    host: bool,
    sni: bool,
    content_type: bool,
    grpc: bool,
    query: bool,
    /// Lengths of names, as bits; the last bit is for all longer ones.
    headers: u64,
    response_headers: u64,
    /// Family (IPv4) and prefix of networks.
    networks: Vec<(bool, u8)>,
}

/// A part of a request that a rule needs.
#[derive(Clone, Debug)]
struct Key {
    hash: u64,
    part: Part,
    /// How many requests are likely to have it: 0 few, 3 most.
    common: u8,
}

#[derive(Clone, Debug)]
enum Part {
    Method,
    Status,
    Path,
    Segments(usize),
    Host,
    Sni,
    ContentType,
    Grpc,
    Query,
    /// A name alone, or with its value behind the hash of the name.
    Header {
        length: usize,
        name: Option<u64>,
    },
    ResponseHeader {
        length: usize,
        name: Option<u64>,
    },
    QueryValue {
        name: u64,
    },
    Network(bool, u8),
}

impl Index {
    pub(super) fn compile(rules: &[Rule]) -> Index {
        let options: Vec<Vec<Vec<Key>>> = rules.iter().map(options).collect();
        let mut shared: HashMap<u64, usize> = HashMap::new();
        for key in options.iter().flatten().flatten() {
            *shared.entry(key.hash).or_default() += 1;
        }
        let load =
            |option: &Vec<Key>| option.iter().map(|key| shared.get(&key.hash).copied().unwrap_or(0)).sum::<usize>();
        let rank = |option: &Vec<Key>| (load(option), commonness(option));
        let mut index = Index::default();
        for (rule, options) in (0_u32..).zip(&options) {
            match options.iter().min_by_key(|option| rank(option)) {
                None => index.rest.push(rule),
                Some(best) => best.iter().for_each(|key| index.put(key, rule)),
            }
        }
        index
    }

    /// Takes those out of which nothing can be looked up and that have found another place.
    pub(super) fn take_rest(&mut self, mut takes: impl FnMut(u32) -> bool) {
        self.rest.retain(|rule| !takes(*rule));
    }

    fn put(&mut self, key: &Key, rule: u32) {
        let watched = &mut self.watched;
        match key.part {
            Part::Method => watched.method = true,
            Part::Status => watched.status = true,
            Part::Path => watched.whole_path = true,
            Part::Segments(n) => watched.segments = watched.segments.max(n),
            Part::Host => watched.host = true,
            Part::Sni => watched.sni = true,
            Part::ContentType => watched.content_type = true,
            Part::Grpc => watched.grpc = true,
            Part::Query | Part::QueryValue { .. } => watched.query = true,
            Part::Header { length, .. } => watched.headers |= length_bit(length),
            Part::ResponseHeader { length, .. } => watched.response_headers |= length_bit(length),
            Part::Network(v4, prefix) => {
                if !watched.networks.contains(&(v4, prefix)) {
                    watched.networks.push((v4, prefix));
                }
            }
        }
        if let Part::Header { name: Some(name), .. }
        | Part::ResponseHeader { name: Some(name), .. }
        | Part::QueryValue { name } = key.part
        {
            self.buckets.entry(name).or_default().values = true;
        }
        self.buckets.entry(key.hash).or_default().rules.push(rule);
    }

    /// Appends every rule that may hold, in any order, some of them twice.
    pub(super) fn candidates(&self, view: &View<'_>, into: &mut Vec<u32>) {
        into.extend_from_slice(&self.rest);
        let watched = &self.watched;
        if watched.method {
            self.look(method(view.request.method.as_str()), into);
        }
        if watched.whole_path || watched.segments > 0 {
            self.look_at_path(&view.path, into);
        }
        if watched.host
            && let Some(host) = &view.host
        {
            self.look_at_name(HOST, host, into);
        }
        if watched.sni
            && let Some(sni) = view.sni()
        {
            self.look_at_name(SNI, &sni, into);
        }
        if watched.content_type
            && let Some(content_type) = view.content_type()
        {
            self.look(Hash::of(CONTENT_TYPE).text(&content_type).0, into);
        }
        if watched.grpc
            && let Some((service, method)) = view.grpc()
        {
            self.look(Hash::of(GRPC_SERVICE).text(service).0, into);
            self.look(Hash::of(GRPC_METHOD).text(method).0, into);
        }
        if watched.query {
            for (name, value) in view.parameters() {
                self.look_behind(Hash::of(QUERY).text(&name), value.as_bytes(), into);
            }
        }
        if watched.headers != 0 {
            self.look_at_fields(HEADER, watched.headers, view.request.fields.iter(), into);
            if !view.request.authority.is_empty() {
                let host: [(&[u8], &[u8]); 1] = [(b"host", view.request.authority.as_bytes())];
                self.look_at_fields(HEADER, watched.headers, host.into_iter(), into);
            }
        }
        if !watched.networks.is_empty()
            && let Some(client) = view.facts.client
        {
            for (v4, prefix) in &watched.networks {
                let network = Network { address: client.to_canonical(), prefix: *prefix };
                if network.address.is_ipv4() == *v4 {
                    self.look(network_hash(&network), into);
                }
            }
        }
        let Some(response) = view.facts.response else { return };
        if watched.status {
            self.look(status(response.status.as_u16()), into);
        }
        if watched.response_headers != 0 {
            self.look_at_fields(RESPONSE_HEADER, watched.response_headers, response.fields.iter(), into);
        }
    }

    fn look(&self, hash: u64, into: &mut Vec<u32>) {
        if let Some(bucket) = self.buckets.get(&hash) {
            into.extend_from_slice(&bucket.rules);
        }
    }

    fn look_behind(&self, name: Hash, value: &[u8], into: &mut Vec<u32>) {
        let Some(bucket) = self.buckets.get(&name.0) else { return };
        into.extend_from_slice(&bucket.rules);
        if bucket.values {
            self.look(name.value(value).0, into);
        }
    }

    /// The whole of it, and what it begins with.
    fn look_at_path(&self, path: &str, into: &mut Vec<u32>) {
        let (mut hash, mut segments) = (Hash::of(PATH), 0);
        for (at, byte) in path.bytes().enumerate() {
            if byte == b'/' && at > 0 && segments < self.watched.segments {
                segments += 1;
                self.look(hash.beginning(), into);
            }
            if segments >= self.watched.segments && !self.watched.whole_path {
                return;
            }
            hash = hash.byte(byte);
        }
        if segments < self.watched.segments {
            self.look(hash.beginning(), into);
        }
        self.look(hash.0, into);
    }

    /// The whole of it, and what it ends with.
    fn look_at_name(&self, tag: u64, name: &str, into: &mut Vec<u32>) {
        let mut hash = Hash::of(tag);
        for byte in name.bytes().rev() {
            if byte == b'.' {
                self.look(hash.beginning(), into);
            }
            hash = hash.byte(byte);
        }
        self.look(hash.beginning(), into);
        self.look(hash.0, into);
    }

    fn look_at_fields<'a>(
        &self,
        tag: u64,
        lengths: u64,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        into: &mut Vec<u32>,
    ) {
        for (name, value) in fields {
            if lengths & length_bit(name.len()) != 0 {
                let name = name.iter().fold(Hash::of(tag), |hash, byte| hash.byte(byte.to_ascii_lowercase()));
                self.look_behind(name, value, into);
            }
        }
    }
}

/// The ways to find a rule: of the keys of each, a request for which it holds has at least one.
fn options(rule: &Rule) -> Vec<Vec<Key>> {
    let mut all: Vec<Vec<Key>> = rule.conditions.iter().filter_map(option).collect();
    all.extend(rule.all.iter().flat_map(options));
    let best = |rule: &Rule| options(rule).into_iter().min_by_key(|option| commonness(option));
    let any = rule.any.as_ref().and_then(|rules| rules.iter().map(best).collect::<Option<Vec<_>>>());
    all.extend(any.map(|options| options.concat()));
    all
}

fn commonness(option: &[Key]) -> u8 {
    option.iter().map(|key| key.common).max().unwrap_or(0)
}

fn option(condition: &Condition) -> Option<Vec<Key>> {
    match condition {
        Condition::Method(list) => {
            Some(list.iter().map(|name| Key { hash: method(name), part: Part::Method, common: 3 }).collect())
        }
        Condition::Status(ranges) => {
            let mut classes: Vec<u16> = ranges.iter().flat_map(|range| range.low / 100..=range.high / 100).collect();
            classes.sort_unstable();
            classes.dedup();
            let key = |class: u16| Key { hash: status(class * 100), part: Part::Status, common: 3 };
            Some(classes.into_iter().map(key).collect())
        }
        Condition::Size(_) | Condition::Alpn(_) => None,
        Condition::Source(networks) => {
            let key = |network: &Network| {
                let part = Part::Network(network.address.is_ipv4(), network.prefix);
                Key { hash: network_hash(network), part, common: 2 }
            };
            Some(networks.iter().map(key).collect())
        }
        Condition::Text(one) => text(one).map(|key| key.into_iter().collect()),
    }
}

/// None: nothing can be looked up. An empty one: it never holds.
fn text(one: &TextCondition) -> Option<Option<Key>> {
    let exact = match &one.text {
        Text::Nothing => return Some(None),
        Text::Absent => return None,
        Text::Exact(text) => Some(&**text),
        Text::Below(_) | Text::Regex(_) | Text::Present => None,
    };
    let reversed = |tag, name: &str| name.bytes().rev().fold(Hash::of(tag), Hash::byte);
    let named = |name: Hash, name_part: Part, value_part: Part| match exact {
        Some(value) => Key { hash: name.value(value.as_bytes()).0, part: value_part, common: 0 },
        None => Key { hash: name.0, part: name_part, common: 2 },
    };
    let key = match &one.subject {
        Subject::Path => match exact {
            Some(path) => Key { hash: Hash::of(PATH).text(path).0, part: Part::Path, common: 0 },
            None => {
                let prefix = path_prefix(&one.pattern)?;
                let segments = prefix.matches('/').count();
                Key { hash: Hash::of(PATH).text(&prefix).beginning(), part: Part::Segments(segments), common: 1 }
            }
        },
        subject @ (Subject::Host | Subject::Sni) => {
            let (tag, part) = if *subject == Subject::Host { (HOST, Part::Host) } else { (SNI, Part::Sni) };
            match exact {
                Some(name) => Key { hash: reversed(tag, name).0, part, common: 1 },
                None => {
                    let suffix = host_suffix(subject, &one.pattern)?;
                    Key { hash: reversed(tag, &suffix).beginning(), part, common: 2 }
                }
            }
        }
        Subject::ContentType => Key { hash: Hash::of(CONTENT_TYPE).text(exact?).0, part: Part::ContentType, common: 2 },
        Subject::GrpcService => Key { hash: Hash::of(GRPC_SERVICE).text(exact?).0, part: Part::Grpc, common: 1 },
        Subject::GrpcMethod => Key { hash: Hash::of(GRPC_METHOD).text(exact?).0, part: Part::Grpc, common: 1 },
        Subject::Query(name) => {
            let hash = Hash::of(QUERY).text(name);
            named(hash, Part::Query, Part::QueryValue { name: hash.0 })
        }
        Subject::Header(name) => {
            let (hash, length) = (Hash::of(HEADER).text(name), name.len());
            named(hash, Part::Header { length, name: None }, Part::Header { length, name: Some(hash.0) })
        }
        Subject::ResponseHeader(name) => {
            let (hash, length) = (Hash::of(RESPONSE_HEADER).text(name), name.len());
            let value = Part::ResponseHeader { length, name: Some(hash.0) };
            named(hash, Part::ResponseHeader { length, name: None }, value)
        }
    };
    Some(Some(key))
}

fn method(name: &str) -> u64 {
    Hash::of(METHOD).text(name).0
}

fn status(status: u16) -> u64 {
    Hash::of(STATUS).text(&(status / 100).to_string()).0
}

fn network_hash(network: &Network) -> u64 {
    let family = match network.address {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 6,
    };
    let bits = network.bits(network.address).to_be_bytes();
    bits.into_iter().fold(Hash::of(NETWORK).byte(family).byte(network.prefix), Hash::byte).0
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

const METHOD: u64 = 1;
const STATUS: u64 = 2;
const PATH: u64 = 3;
const HOST: u64 = 4;
const SNI: u64 = 5;
const CONTENT_TYPE: u64 = 6;
const GRPC_SERVICE: u64 = 7;
const GRPC_METHOD: u64 = 8;
const QUERY: u64 = 9;
const HEADER: u64 = 10;
const RESPONSE_HEADER: u64 = 11;
const NETWORK: u64 = 12;

/// FNV-1a (Fowler, Noll, Vo), 64 bits: byte by byte, so that the beginnings of a text are hashed on the way. Who sends
/// texts that collide makes one rule more be looked at, no more.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn of(tag: u64) -> Hash {
        Hash(0xcbf2_9ce4_8422_2325 ^ tag.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn byte(self, byte: u8) -> Hash {
        Hash((self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    fn text(self, text: &str) -> Hash {
        text.bytes().fold(self, Hash::byte)
    }

    /// A value behind a name.
    fn value(self, value: &[u8]) -> Hash {
        value.iter().fold(Hash(!self.0), |hash, byte| hash.byte(*byte))
    }

    /// As the beginning (for names of hosts the end) of something longer, or all of it.
    fn beginning(self) -> u64 {
        self.0.rotate_left(32)
    }
}

/// The keys of the buckets are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash << 8 ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
