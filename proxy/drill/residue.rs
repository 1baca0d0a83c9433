//! After a run: is anything of it left? Nothing may be held, no worker may have it in its plan, and bytes must come back as
//! they were through the workers that carried it.
//!
//! The bytes go through a proxy made for it, with an echo of squall's own behind it: the upstreams of the run's proxies are
//! somebody's, and are left in peace.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use squall_core::plane::DataPlane;
use squall_core::scenario::ProxySpec;

/// Bytes that must come back equal: more than any one read of a worker takes.
const BYTES: usize = 256 << 10;
/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the proxy is called, with a number.
const NAME: &str = "squall-residue";

/// Whether this is the name of a proxy that proves pass-through.
pub(crate) fn is_own(proxy: &str) -> bool {
    proxy.strip_prefix(NAME).is_some_and(|rest| rest.starts_with('-'))
}

/// What is left of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Residue {
    /// Units that its faults still hold.
    pub(crate) held: u64,
    /// Nothing is held.
    pub(crate) clean: bool,
    /// Everything that was looked at is in pass-through.
    pub(crate) proven: bool,
    /// In words.
    pub(crate) text: String,
}

/// Looks. `confirmed`: every worker has said that it let go. Takes some milliseconds, [`PATIENCE`] at worst.
pub(crate) fn check(plane: &dyn DataPlane, id: &str, proxies: &[&str], held: u64, confirmed: bool) -> Residue {
    let mut against = Vec::new();
    if held > 0 {
        against.push(format!("{held} units are still held"));
    }
    if !confirmed {
        against.push("not every worker has confirmed that it let go".into());
    }
    let plan = plane.cell().plan().load_full();
    let acts = |proxy: &&&str| {
        plan.slice(proxy).is_some_and(|slice| slice.actives.iter().any(|active| *active.name.experiment == *id))
    };
    against.extend(proxies.iter().filter(acts).map(|proxy| format!("it is still in the plan of proxy `{proxy}`")));
    if against.is_empty()
        && let Err(why) = echoed(plane)
    {
        against.push(format!("no bytes came back equal: {why}"));
    }
    let proven = against.is_empty();
    let text = match proven {
        true => format!(
            "pass-through proven: nothing is held, no worker has it in its plan, {BYTES} bytes came back equal through a proxy \
             made for it"
        ),
        false => format!("pass-through not proven: {}", against.join("; ")),
    };
    Residue { held, clean: held == 0, proven, text }
}

/// Sends bytes through a proxy of their own and takes them back.
fn echoed(plane: &dyn DataPlane) -> Result<(), String> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let name = format!("{NAME}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let upstream = listener.local_addr().map_err(|error| error.to_string())?;
    let spec = ProxySpec {
        name: name.clone(),
        listen: "127.0.0.1:0".into(),
        upstream: upstream.to_string(),
        ..ProxySpec::default()
    };
    let info = plane.open(&spec).map_err(|error| error.to_string())?;
    let outcome = match info.listen.parse() {
        Ok(address) => std::thread::scope(|scope| {
            scope.spawn(|| echo(&listener));
            round(address).inspect_err(|_| drop(TcpStream::connect(upstream))) // so that the echo does not wait for good
        }),
        Err(_) => Err(format!("{} is no address", info.listen)),
    };
    let _ = plane.cut_off(&name); // nobody else knows of it
    outcome
}

/// One connection's bytes, sent back until it ends.
fn echo(listener: &TcpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut piece = [0; 16 << 10];
    loop {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            n => stream.write_all(&piece[..n])?,
        }
    }
}

fn round(address: SocketAddr) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let sent: Vec<u8> = (0..BYTES).map(|at| (at ^ (at >> 8)).to_le_bytes()[0]).collect();
    let mut out = TcpStream::connect_timeout(&address, PATIENCE).map_err(told)?;
    out.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    out.set_write_timeout(Some(PATIENCE)).map_err(told)?;
    let mut back = out.try_clone().map_err(told)?;
    let mut came = Vec::with_capacity(BYTES);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = out.write_all(&sent).and_then(|()| out.shutdown(Shutdown::Write)); // missed bytes tell
        });
        back.read_to_end(&mut came).map_err(told)
    })?;
    match came == sent {
        true => Ok(()),
        false => Err(format!("{} of {BYTES} came back, or others than were sent", came.len())),
    }
}
