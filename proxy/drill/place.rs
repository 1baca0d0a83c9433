//! Where this is: the environment that the host proves, and addresses that would prove that it is another one.

use std::fs::{self, Metadata};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use squall_core::time::Clock;

/// How long an address is tried.
const TRY: Duration = Duration::from_millis(500);
/// How long all of them are tried, names looked up and all.
const IN_ALL: Duration = Duration::from_secs(2);
/// Bytes of a file that names an environment.
const LARGEST: u64 = 256;

/// Whether a file that only root can have written names this environment.
///
/// # Errors
/// Why it does not, in words.
pub fn prove(file: &Path, environment: &str) -> Result<(), String> {
    prove_to(file, environment, 0)
}

fn prove_to(file: &Path, environment: &str, owner: u32) -> Result<(), String> {
    let wrong = |why: String| format!("environment_file {}: {why}", file.display());
    let look = |path: &Path| fs::metadata(path).map_err(|error| wrong(error.to_string()));
    let found = look(file)?;
    if !found.is_file() || found.len() > LARGEST {
        return Err(wrong("this is not a file with the name of an environment".into()));
    }
    let is_safe = |found: &Metadata| found.uid() == owner && found.mode() & 0o022 == 0;
    let directory = look(file.parent().unwrap_or(Path::new("/")))?;
    if !is_safe(&found) || !is_safe(&directory) {
        return Err(wrong("it proves nothing: others than root can write it or its directory".into()));
    }
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    match text.trim() {
        name if name == environment => Ok(()),
        name => {
            Err(wrong(format!("this host is `{}`, and the configuration says `{environment}`", name.escape_debug())))
        }
    }
}

/// What of `must_not_reach` answers, and what could not be tried in time: two seconds, whatever a name server does.
pub(crate) fn reachable(addresses: &[String], clock: &dyn Clock) -> Vec<String> {
    let (to, found) = channel();
    for (n, address) in addresses.iter().enumerate() {
        let (to, address) = (to.clone(), address.clone());
        let tried = std::thread::Builder::new().name("squall-isolation".into()).spawn(move || {
            let _ = to.send((n, answers(&address))); // nobody waits for it any more after a while
        });
        drop(tried); // without a thread it stays untried
    }
    drop(to);
    let mut answers: Vec<Option<bool>> = vec![None; addresses.len()];
    let since = clock.now().mono;
    loop {
        let passed = Duration::from_nanos(clock.now().mono.saturating_sub(since));
        let Ok((n, answer)) = found.recv_timeout(IN_ALL.saturating_sub(passed)) else { break };
        if let Some(place) = answers.get_mut(n) {
            *place = Some(answer);
        }
    }
    let told = addresses.iter().zip(answers).filter_map(|(address, answer)| match answer {
        Some(false) => None,
        Some(true) => Some(format!("{address} must not be reachable from here, and it is: not isolated")),
        None => Some(format!("{address} could not be tried within {IN_ALL:?}: that it can't be reached is not proven")),
    });
    told.collect()
}

/// Whether any address behind a name takes a connection. A name that can't be resolved reaches nobody.
fn answers(address: &str) -> bool {
    let resolved: Vec<SocketAddr> = address.to_socket_addrs().into_iter().flatten().take(16).collect();
    std::thread::scope(|scope| {
        let tries: Vec<_> =
            resolved.iter().map(|to| scope.spawn(|| TcpStream::connect_timeout(to, TRY).is_ok())).collect();
        tries.into_iter().any(|one| one.join().unwrap_or(true))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_file_of_its_owner_alone_proves_anything() {
        let room = std::env::temp_dir().join(format!("squall-place-{}", std::process::id()));
        fs::create_dir_all(&room).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&room, 0o755);
        let file = room.join("environment");
        let me = rustix::process::getuid().as_raw();
        assert!(prove_to(&file, "staging", me).unwrap_err().contains("environment_file"));
        fs::write(&file, "staging\n").unwrap();
        mode(&file, 0o644);
        assert_eq!(prove_to(&file, "staging", me), Ok(()));
        assert!(prove_to(&file, "test", me).unwrap_err().contains("this host is `staging`"));
        assert!(prove_to(&file, "staging", me + 1).unwrap_err().contains("proves nothing"));
        mode(&file, 0o664);
        assert!(prove_to(&file, "staging", me).unwrap_err().contains("proves nothing"));
        mode(&file, 0o644);
        mode(&room, 0o777);
        assert!(prove_to(&file, "staging", me).unwrap_err().contains("proves nothing"));
        assert!(prove_to(&room, "staging", me).unwrap_err().contains("not a file"));
        fs::remove_dir_all(room).unwrap();
    }
}
