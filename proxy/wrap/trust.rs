//! Whom a wrapped program trusts: everybody whom it trusted before, and squall's CA for the hosts that are opened.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use squall_core::draw;
use squall_core::time::{Clock, MILLI};
use squall_wire::{Bundle, Ca, SystemClock};

use crate::runtime;

/// Variables that name roots which a network may need besides this machine's.
const OF_THE_NETWORK: [&str; 7] = [
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
];
/// Of the key store for Java: its content is no secret.
pub const STORE_PASSWORD: &str = "changeit";

/// The files.
#[derive(Clone, Debug)]
pub struct Files {
    /// Roots that squall itself believes on its way to the services.
    pub roots: PathBuf,
    /// The same, and squall's CA.
    pub bundle: PathBuf,
    /// Squall's CA alone.
    pub ca: PathBuf,
    /// The bundle as a key store for Java.
    pub store: PathBuf,
}

/// Where a project's CA is: one per set of names, because a CA is kept to its names for good.
pub fn directory(project: &Path, names: &[&str]) -> PathBuf {
    project.join(format!("ca-{:016x}", draw::hash(names.join(" ").as_bytes())))
}

/// Makes the CA unless it is there, and writes the files into `run`.
///
/// # Errors
/// What can't be read or written, in words.
pub fn write(ca: &Path, names: &[&str], run: &Path) -> Result<Files, String> {
    let mut only: Vec<String> =
        names.iter().filter(|it| it.parse::<IpAddr>().is_err()).map(|it| (*it).into()).collect();
    if only.is_empty() {
        only.push("invalid".into()); // a name that nobody has: without any it would vouch for everybody
    }
    let root = Ca::certificate(ca);
    runtime::private(ca).map_err(|error| format!("{}: {error}", ca.display()))?;
    own(ca)?;
    if !root.exists() {
        let made = Ca::open(ca, &only);
        made.map(drop).or_else(|why| if root.exists() { Ok(()) } else { Err(why) })?; // another wrap was faster
    }
    let mut bundle = Bundle::of_this_machine();
    for file in OF_THE_NETWORK.iter().filter_map(std::env::var_os).map(PathBuf::from).filter(|file| file.is_file()) {
        bundle.add(&file)?;
    }
    let place = |name: &str| run.join(name);
    let files = Files { roots: place("roots.pem"), bundle: place("bundle.pem"), ca: root, store: place("roots.jks") };
    let put = |file: &Path, bytes: &[u8]| {
        std::fs::write(file, bytes).map_err(|error: io::Error| format!("{}: {error}", file.display()))
    };
    if bundle.is_empty() {
        bundle.add(&files.ca)?; // a machine without roots believes nobody, and a file must name somebody
    }
    put(&files.roots, bundle.pem().as_bytes())?;
    bundle.add(&files.ca)?;
    put(&files.bundle, bundle.pem().as_bytes())?;
    let since_1970 = SystemClock.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let made = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX) / MILLI;
    put(&files.store, &bundle.jks(STORE_PASSWORD, made))?;
    Ok(files)
}

/// Whether a CA that is there was made here: whoever else knows its key is believed by the program, too.
fn own(ca: &Path) -> Result<(), String> {
    let has_root = Ca::certificate(ca).exists(); // asked first: a root is made after its key
    let is_ours = match std::fs::symlink_metadata(Ca::key(ca)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => !has_root,
        Err(error) => return Err(format!("{}: {error}", ca.display())),
        Ok(key) => key.is_file() && key.uid() == rustix::process::getuid().as_raw() && key.mode() & 0o077 == 0,
    };
    if is_ours {
        return Ok(());
    }
    let place = ca.display();
    Err(format!(
        "the key of the CA in {place} is missing, or others may know it: remove {place}, and a new one is made"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_ca_whose_key_others_may_know_is_not_taken() {
        let place = std::env::temp_dir().join(format!("squall-trust-{}", std::process::id()));
        let (ca, run) = (place.join("ca"), place.join("run"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&run).unwrap();
        let made = || write(&ca, &["a.test"], &run);
        let files = made().unwrap();
        assert!(fs::read_to_string(&files.bundle).unwrap().contains("BEGIN CERTIFICATE"));
        assert!(made().is_ok(), "the same once more");
        let key = Ca::key(&ca);
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        assert!(made().unwrap_err().contains("remove"), "it came from elsewhere");
        fs::rename(&key, place.join("elsewhere")).unwrap();
        assert!(made().unwrap_err().contains("missing"), "a root without its key");
        fs::set_permissions(place.join("elsewhere"), Permissions::from_mode(0o600)).unwrap();
        symlink(place.join("elsewhere"), &key).unwrap();
        assert!(made().is_err(), "a link");
        fs::remove_file(&key).unwrap();
        fs::remove_file(Ca::certificate(&ca)).unwrap();
        assert!(made().is_ok(), "made anew");
        fs::remove_file(Ca::certificate(&ca)).unwrap();
        assert!(made().is_ok(), "somebody died between key and root");
        fs::remove_dir_all(&place).unwrap();
    }
}
