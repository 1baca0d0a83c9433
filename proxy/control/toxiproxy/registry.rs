//! The proxies and toxics that clients of Toxiproxy see, and what they do with them. The proxies are those of the data
//! plane; the toxics are faults of one experiment without a timeline, which an abort ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use serde_json::{Value, json};
use squall_core::fault::Flow;
use squall_core::plane::{DataPlane, PlaneError, ProxyInfo};
use squall_core::scenario::ProxySpec;
use squall_drill::audit::Act;
use squall_drill::engine::Engine;
use squall_drill::resident::Resident;

use super::address::Book;
use super::failure::Failure;
use super::input::{self, Object};
use super::toxic::{Toxic, Type};

/// The name of the experiment that all toxics belong to.
const EXPERIMENT: &str = "toxiproxy";
/// Proxies and toxics that one registry keeps: enough for every test suite, and an end for a runaway one.
const MOST: usize = 4_096;
const CONNECT_TIMEOUT: u64 = 30 * squall_core::time::SECOND;

/// See the module.
pub struct Registry {
    engine: Engine,
    plane: Arc<dyn DataPlane>,
    seed: Option<u64>,
    lease: Option<u64>,
    /// The highest share of connections that a toxic may select, 0 to 100.
    max_percentage: f64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    resident: Option<Resident>,
    proxies: BTreeMap<String, Proxy>,
}

struct Proxy {
    spec: ProxySpec,
    /// As clients see it.
    listen: String,
    enabled: bool,
    /// Upstream, then downstream, each by insertion; with the serial of its fault.
    toxics: [Vec<(Toxic, u64)>; 2],
}

/// Bytes of one proxy: towards the server, towards the client.
pub(super) struct Traffic {
    pub(super) name: String,
    pub(super) listen: String,
    pub(super) upstream: String,
    pub(super) received: [u64; 2],
    pub(super) sent: [u64; 2],
}

/// What a client says about a proxy; none: nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) name: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) upstream: Option<String>,
    pub(super) enabled: Option<bool>,
}

impl Wanted {
    pub(super) fn read(object: &Object<'_>) -> Result<Wanted, Failure> {
        let read = || -> Result<Wanted, String> {
            Ok(Wanted {
                name: object.text("name")?,
                listen: object.text("listen")?,
                upstream: object.text("upstream")?,
                enabled: object.flag("enabled")?,
            })
        };
        read().map_err(Failure::body)
    }

    /// Name and upstream, which a new proxy must have.
    pub(super) fn required(&self, place: Option<usize>) -> Result<(&str, &str), Failure> {
        let given = |value: &'_ Option<String>| value.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        if given(&self.name).is_none() {
            return Err(Failure::missing("name", place));
        }
        if given(&self.upstream).is_none() {
            return Err(Failure::missing("upstream", place));
        }
        Ok((self.name.as_deref().unwrap_or_default(), self.upstream.as_deref().unwrap_or_default()))
    }
}

impl Registry {
    /// No proxies but those of the data plane, no toxics. With `seed` every draw is the same from run to run; with `lease`
    /// (ns) the toxics end when no request has come for so long.
    pub fn new(
        engine: Engine,
        plane: Arc<dyn DataPlane>,
        seed: Option<u64>,
        lease: Option<u64>,
        max_percentage: Option<f64>,
    ) -> Registry {
        let max_percentage = max_percentage.unwrap_or(100.0);
        Registry { engine, plane, seed, lease, max_percentage, state: Mutex::default() }
    }

    /// Puts an attempt on record.
    pub(super) fn attempted(&self, act: Act, often: bool) {
        match often {
            true => self.engine.audit().often(act),
            false => self.engine.audit().note(act),
        }
    }

    /// The state, brought up to date with what was done elsewhere: toxics that an abort has ended are gone, and so are
    /// proxies that were removed through the control port; those opened there are here.
    fn look(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.resident.as_ref().is_some_and(|resident| !resident.renew()) {
            state.resident = None;
            state.proxies.values_mut().for_each(|proxy| proxy.toxics = Default::default());
        }
        let mut here: BTreeMap<String, ProxyInfo> =
            self.plane.proxies().into_iter().map(|info| (info.spec.name.clone(), info)).collect();
        let State { resident, proxies } = &mut *state;
        proxies.retain(|name, proxy| match here.remove(name) {
            Some(info) => {
                (proxy.listen, proxy.enabled) = (shown(&info), true);
                proxy.spec = info.spec;
                true
            }
            None if proxy.enabled => {
                proxy.serials().for_each(|serial| lift(resident.as_ref(), serial));
                false
            }
            None => true,
        });
        for (name, info) in here {
            let proxy = Proxy { listen: shown(&info), spec: info.spec, enabled: true, toxics: Default::default() };
            state.proxies.insert(name, proxy);
        }
        state
    }

    /// What has gone through each proxy that listens.
    pub(super) fn traffic(&self) -> Vec<Traffic> {
        let state = self.look();
        let of = state.proxies.iter().filter_map(|(name, proxy)| {
            let reading = self.plane.reading(name)?;
            Some(Traffic {
                name: name.clone(),
                listen: proxy.listen.clone(),
                upstream: proxy.spec.upstream.clone(),
                received: [reading.received_upstream, reading.received_downstream],
                sent: [reading.bytes_upstream, reading.bytes_downstream],
            })
        });
        of.collect()
    }

    /// All proxies by name.
    pub(super) fn proxies(&self) -> Value {
        self.look()
            .proxies
            .iter()
            .map(|(name, proxy)| (name.clone(), proxy.json()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    pub(super) fn proxy(&self, name: &str) -> Result<Value, Failure> {
        Ok(find(&mut self.look(), name)?.json())
    }

    /// Makes a proxy.
    pub(super) fn create(&self, wanted: &Wanted) -> Result<Value, Failure> {
        let (name, _) = wanted.required(None)?;
        let book = self.book(name, wanted);
        let mut state = self.look();
        if state.proxies.contains_key(name) {
            return Err(Failure::new(StatusCode::CONFLICT, "proxy already exists"));
        }
        self.add(&mut state, wanted, &book)
    }

    /// What the names stand for that a request about this proxy brings into play.
    fn book(&self, name: &str, wanted: &Wanted) -> Book {
        let known = self.look().proxies.get(name).map(|proxy| [proxy.listen.clone(), proxy.spec.upstream.clone()]);
        let [listen, upstream] = known.unwrap_or_default();
        // an upstream is looked up where it has to be told from another, else when it is connected to
        let other = wanted.upstream.as_deref().filter(|other| !upstream.is_empty() && *other != upstream);
        let upstreams = other.into_iter().flat_map(|other| [other, &upstream]);
        Book::of(wanted.listen.as_deref().into_iter().chain([listen.as_str()]).chain(upstreams))
    }

    fn add(&self, state: &mut State, wanted: &Wanted, book: &Book) -> Result<Value, Failure> {
        let (name, upstream) = wanted.required(None)?;
        if state.proxies.len() >= MOST {
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, format!("there are {MOST} proxies already")));
        }
        let text = wanted.listen.clone().unwrap_or_default();
        let spec = ProxySpec {
            name: name.to_owned(),
            listen: text.clone(),
            upstream: upstream.to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            closes_unreached: true,
            ..ProxySpec::default()
        };
        let enabled = wanted.enabled.unwrap_or(true);
        let mut proxy = Proxy { spec, listen: text, enabled: false, toxics: Default::default() };
        if enabled {
            self.enable(&mut proxy, book)?;
        }
        let json = proxy.json();
        state.proxies.insert(name.to_owned(), proxy);
        Ok(json)
    }

    fn enable(&self, proxy: &mut Proxy, book: &Book) -> Result<(), Failure> {
        let at = book.place(&proxy.listen)?;
        let open = |listen: String| self.plane.open(&ProxySpec { listen, ..proxy.spec.clone() });
        let info = match open(at.to_string()) {
            // a machine without IPv6
            Err(PlaneError::Bind(..)) if at.ip().is_unspecified() => open(format!("0.0.0.0:{}", at.port())),
            opened => opened,
        };
        let info = info.map_err(|error| in_its_words(error, &proxy.listen))?;
        (proxy.listen, proxy.enabled) = (shown(&info), true);
        proxy.spec = info.spec;
        Ok(())
    }

    /// Changes a proxy, or leaves it as it was. What is not said stays. Connections end where listener or upstream change.
    pub(super) fn update(&self, name: &str, wanted: &Wanted) -> Result<Value, Failure> {
        let book = self.book(name, wanted);
        let mut state = self.look();
        let proxy = find(&mut state, name)?;
        let listen = wanted.listen.as_deref().filter(|listen| !book.is_same(listen, &proxy.listen));
        let upstream = wanted.upstream.as_deref().filter(|upstream| !book.is_same(upstream, &proxy.spec.upstream));
        let enabled = wanted.enabled.unwrap_or(proxy.enabled);
        let mut changed = Proxy {
            spec: proxy.spec.clone(),
            listen: listen.map_or_else(|| proxy.listen.clone(), str::to_owned),
            enabled: proxy.enabled,
            toxics: Default::default(),
        };
        if let Some(upstream) = upstream {
            changed.spec.upstream = upstream.to_owned();
        }
        match (proxy.enabled, enabled) {
            (true, true) if listen.is_some() || upstream.is_some() => {
                let at = book.place(&changed.listen)?;
                changed.spec.listen = if listen.is_some() { at.to_string() } else { proxy.spec.listen.clone() };
                let info = self.plane.change(&changed.spec).map_err(|error| in_its_words(error, &changed.listen))?;
                self.plane.disconnect(name)?;
                (changed.listen, changed.spec) = (shown(&info), info.spec);
            }
            (true, false) => {
                self.plane.cut_off(name)?;
                changed.enabled = false;
            }
            (false, true) => self.enable(&mut changed, &book)?,
            _ => {}
        }
        (proxy.spec, proxy.listen, proxy.enabled) = (changed.spec, changed.listen, changed.enabled);
        Ok(proxy.json())
    }

    /// Removes a proxy with its connections and toxics.
    pub(super) fn delete(&self, name: &str) -> Result<(), Failure> {
        let mut state = self.look();
        find(&mut state, name)?;
        self.clear(&mut state, name)
    }

    fn clear(&self, state: &mut State, name: &str) -> Result<(), Failure> {
        let Some(proxy) = state.proxies.get(name) else { return Ok(()) };
        if proxy.enabled {
            self.plane.cut_off(name)?;
        }
        proxy.serials().for_each(|serial| lift(state.resident.as_ref(), serial));
        state.proxies.remove(name);
        Ok(())
    }

    /// Makes what a configuration in the original's format names: the array that a populate takes.
    ///
    /// # Errors
    /// What is wrong with it, or the first proxy or toxic that can not be had, in words; those before it stay.
    pub fn load(&self, json: &[u8]) -> Result<(), String> {
        let value = checked_list(json).map_err(|failure| failure.message)?;
        let (done, failure) = self.populate(input::list(&value).unwrap_or_default());
        failure.map_or(Ok(()), |failure| Err(format!("proxy {}: {}", done.len() + 1, failure.message)))
    }

    /// One proxy after the other; at the first that can't be had it stops, and those before it stay. Gives those done, and
    /// the failure if there was one.
    pub(super) fn populate(&self, list: &[Value]) -> (Vec<Value>, Option<Failure>) {
        let mut done = Vec::new();
        for entry in list {
            match self.populate_one(entry) {
                Ok(proxy) => done.push(proxy),
                Err(failure) => return (done, Some(failure)),
            }
        }
        (done, None)
    }

    fn populate_one(&self, entry: &Value) -> Result<Value, Failure> {
        let object = Object::of(entry).map_err(Failure::body)?;
        let wanted = Wanted::read(&object)?;
        let (name, upstream) = wanted.required(None)?;
        let listen = wanted.listen.clone().unwrap_or_default();
        let book = self.book(name, &wanted);
        let mut state = self.look();
        let is_same = state
            .proxies
            .get(name)
            .is_some_and(|proxy| book.is_same(&listen, &proxy.listen) && book.is_same(upstream, &proxy.spec.upstream));
        let toxics = object.list("toxics").map_err(Failure::body)?;
        if !is_same {
            self.clear(&mut state, name)?;
            self.add(&mut state, &wanted, &book)?;
        }
        drop(state);
        for toxic in toxics {
            match self.add_toxic(name, toxic) {
                Err(failure) if is_same && failure.status == StatusCode::CONFLICT => {}
                added => drop(added?),
            }
        }
        self.proxy(name)
    }

    /// Enables every proxy and removes every toxic.
    pub(super) fn reset(&self) -> Result<(), Failure> {
        let disabled: Vec<String> = {
            let state = self.look();
            let disabled = state.proxies.values().filter(|proxy| !proxy.enabled);
            disabled.map(|proxy| proxy.listen.clone()).collect()
        };
        let book = Book::of(disabled.iter().map(String::as_str));
        let mut state = self.look();
        let mut failed = None;
        let serials: Vec<u64> = state.proxies.values().flat_map(Proxy::serials).collect();
        serials.into_iter().for_each(|serial| lift(state.resident.as_ref(), serial));
        for proxy in state.proxies.values_mut() {
            proxy.toxics = Default::default();
            if !proxy.enabled
                && let Err(failure) = self.enable(proxy, &book)
            {
                failed.get_or_insert(failure);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    pub(super) fn toxics(&self, proxy: &str) -> Result<Value, Failure> {
        Ok(find(&mut self.look(), proxy)?.toxics_json())
    }

    pub(super) fn toxic(&self, proxy: &str, name: &str) -> Result<Value, Failure> {
        let mut state = self.look();
        let (toxic, _) = find(&mut state, proxy)?.toxic(name)?;
        Ok(toxic.json())
    }

    /// Adds a toxic at the end of its direction's chain.
    pub(super) fn add_toxic(&self, proxy: &str, request: &Value) -> Result<Value, Failure> {
        let mut state = self.look();
        let place = find(&mut state, proxy)?;
        let object = Object::of(request).map_err(Failure::body)?;
        let (name, word, stream) = read_toxic(&object)?;
        let flow = match stream.to_ascii_lowercase().as_str() {
            "upstream" => Flow::Upstream,
            "downstream" => Flow::Downstream,
            _ => {
                let why = "stream was invalid, can be either upstream or downstream";
                return Err(Failure::new(StatusCode::BAD_REQUEST, why));
            }
        };
        let name = name.unwrap_or_else(|| format!("{word}_{stream}"));
        let kind = Type::of(&word).ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, "invalid toxic type"))?;
        if place.toxic(&name).is_ok() {
            return Err(Failure::new(StatusCode::CONFLICT, "toxic already exists"));
        }
        if place.serials().count() >= MOST {
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, format!("there are {MOST} toxics already")));
        }
        let toxic = Toxic::new(name, kind, stream, flow).with(&object).map_err(Failure::body)?;
        let fault = self.allowed(&toxic, proxy)?;
        let serial = self.resident(&mut state)?.add(fault)?;
        let json = toxic.json();
        find(&mut state, proxy)?.toxics[flow as usize].push((toxic, serial));
        Ok(json)
    }

    /// Changes a toxic on live connections, or leaves it as it was.
    pub(super) fn update_toxic(&self, proxy: &str, name: &str, request: &Value) -> Result<Value, Failure> {
        let mut state = self.look();
        let (toxic, serial) = find(&mut state, proxy)?.toxic(name)?.clone();
        let object = Object::of(request).map_err(Failure::body)?;
        let toxic = toxic.with(&object).map_err(Failure::body)?;
        let fault = self.allowed(&toxic, proxy)?;
        self.resident(&mut state)?.change(serial, fault)?;
        let json = toxic.json();
        let place = &mut find(&mut state, proxy)?.toxics[toxic.flow as usize];
        if let Some(entry) = place.iter_mut().find(|(_, known)| *known == serial) {
            entry.0 = toxic;
        }
        Ok(json)
    }

    /// Removes a toxic: what it held goes on.
    pub(super) fn delete_toxic(&self, proxy: &str, name: &str) -> Result<(), Failure> {
        let mut state = self.look();
        let place = find(&mut state, proxy)?;
        let (toxic, serial) = place.toxic(name)?.clone();
        place.toxics[toxic.flow as usize].retain(|(_, known)| *known != serial);
        lift(state.resident.as_ref(), serial);
        Ok(())
    }

    /// The fault of a toxic, if it makes one and the limits of this host allow it.
    fn allowed(&self, toxic: &Toxic, proxy: &str) -> Result<squall_core::scenario::FaultSpec, Failure> {
        let fault = toxic.fault(proxy).map_err(Failure::body)?;
        if toxic.percentage() > self.max_percentage {
            let why =
                format!("toxicity {} exceeds max_percentage ({} %) of this host", toxic.toxicity, self.max_percentage);
            return Err(Failure::new(StatusCode::FORBIDDEN, why));
        }
        Ok(fault)
    }

    /// The experiment that toxics belong to, begun with the first of them. This is where the engine may say no: whatever
    /// forbids experiments on this host, the safety lever first of all, is a `Refusal` of the start, which clients get as 503
    /// with the reason.
    fn resident<'a>(&self, state: &'a mut State) -> Result<&'a Resident, Failure> {
        match &mut state.resident {
            Some(resident) => Ok(resident),
            none => Ok(none.insert(self.engine.resident(EXPERIMENT, self.seed, self.lease)?)),
        }
    }
}

/// A list of proxies, each with what a new one must have.
pub(super) fn checked_list(body: &[u8]) -> Result<Value, Failure> {
    let value = input::first(body).map_err(Failure::body)?;
    for (n, entry) in input::list(&value).map_err(Failure::body)?.iter().enumerate() {
        Wanted::read(&Object::of(entry).map_err(Failure::body)?)?.required(Some(n + 1))?;
    }
    Ok(value)
}

fn lift(resident: Option<&Resident>, serial: u64) {
    if let Some(resident) = resident {
        resident.remove(serial);
    }
}

fn find<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Proxy, Failure> {
    state.proxies.get_mut(name).ok_or_else(Failure::no_proxy)
}

fn read_toxic(object: &Object<'_>) -> Result<(Option<String>, String, String), Failure> {
    let read = || -> Result<_, String> {
        let name = object.text("name")?.filter(|name| !name.is_empty());
        let stream = object.text("stream")?.unwrap_or_else(|| "downstream".into());
        Ok((name, object.text("type")?.unwrap_or_default(), stream))
    };
    read().map_err(Failure::body)
}

/// The address that the client wrote, in the system's words.
fn in_its_words(error: PlaneError, written: &str) -> Failure {
    match error {
        PlaneError::Bind(_, why) => PlaneError::Bind(written.to_owned(), why).into(),
        other => other.into(),
    }
}

/// Where a proxy listens, as the original shows it: every address is `[::]`.
fn shown(info: &ProxyInfo) -> String {
    match info.address {
        Some(address) if address.ip().is_unspecified() => format!("[::]:{}", address.port()),
        Some(address) => address.to_string(),
        None => info.listen.clone(),
    }
}

impl Proxy {
    fn json(&self) -> Value {
        json!({
            "name": self.spec.name, "listen": self.listen, "upstream": self.spec.upstream, "enabled": self.enabled,
            "Logger": {}, "toxics": self.toxics_json(),
        })
    }

    fn toxics_json(&self) -> Value {
        self.toxics.iter().flatten().map(|(toxic, _)| toxic.json()).collect()
    }

    fn toxic(&self, name: &str) -> Result<&(Toxic, u64), Failure> {
        self.toxics.iter().flatten().find(|(toxic, _)| toxic.name == name).ok_or_else(Failure::no_toxic)
    }

    fn serials(&self) -> impl Iterator<Item = u64> {
        self.toxics.iter().flatten().map(|(_, serial)| *serial)
    }
}
