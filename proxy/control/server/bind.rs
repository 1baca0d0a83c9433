//! The sockets of the control port.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::access;
use crate::connections::Listener;
use crate::place::Place;

const BACKLOG: i32 = 256;

/// A socket that is bound and listens, not yet served.
#[derive(Debug)]
pub(super) struct Bound {
    place: Place,
    socket: Unserved,
    entry: Option<Entry>,
}

#[derive(Debug)]
enum Unserved {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Bound {
    /// Loopback or a unix socket, unless it is known who asks and nobody listens in: TLS, and tokens or certificates.
    pub(super) fn control(listen: &str, access: &access::Settings) -> io::Result<Bound> {
        if listen.starts_with("unix:") {
            return unix(listen);
        }
        let address = address(listen)?;
        if !address.ip().is_loopback() && !access.is_safe_anywhere() {
            let why = "without `tls`, and `tokens` or its `client_ca`, in [control] it listens on loopback addresses or unix \
                       sockets only";
            return Err(refused(listen, why));
        }
        let bound = tcp(listen, address)?;
        Ok(match (&access.tls, bound.place) {
            (Some(_), Place::Tcp(address)) => Bound { place: Place::Tls(address), ..bound },
            (_, place) => Bound { place, ..bound },
        })
    }

    /// Any address: what is shown can't do harm, or whoever configured it answers for it.
    pub(super) fn anywhere(listen: &str) -> io::Result<Bound> {
        tcp(listen, address(listen)?)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The name under which it is reached, as in a Host header.
    pub(super) fn host(&self) -> Option<String> {
        match &self.place {
            Place::Tcp(address) | Place::Tls(address) => address.rsplit_once(':').map(|(host, _)| host.to_owned()),
            Place::Unix(_) => None,
        }
    }

    /// Whether other machines reach it.
    pub(super) fn is_public(&self) -> bool {
        match &self.place {
            Place::Tcp(address) | Place::Tls(address) => {
                address.parse::<SocketAddr>().is_ok_and(|address| !address.ip().is_loopback())
            }
            Place::Unix(_) => false,
        }
    }

    /// Hands the socket to the runtime. Whatever else is given is to be kept as long as it listens.
    pub(super) fn listen(self) -> io::Result<(Listener, Option<Entry>)> {
        let listener = match self.socket {
            Unserved::Tcp(listener) => Listener::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Unserved::Unix(listener) => Listener::Unix(tokio::net::UnixListener::from_std(listener)?),
        };
        Ok((listener, self.entry))
    }
}

fn address(listen: &str) -> io::Result<SocketAddr> {
    let numeric = match listen.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => listen.to_owned(),
    };
    numeric.parse().map_err(|_| refused(listen, "expected `address:port` or `unix:PATH`"))
}

fn tcp(listen: &str, address: SocketAddr) -> io::Result<Bound> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?; // a restart must not wait for old connections; a live listener still refuses
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let place = Place::of(listener.local_addr()?);
        Ok(Bound { place, socket: Unserved::Tcp(listener), entry: None })
    };
    bind().map_err(|e: io::Error| failed(listen, &e))
}

fn unix(listen: &str) -> io::Result<Bound> {
    let Ok(Place::Unix(path)) = listen.parse() else {
        return Err(refused(listen, "expected `address:port` or `unix:PATH`"));
    };
    let bind = || {
        clear_stale(&path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(&path)?)?;
        let entry = Entry::of(path.clone())?;
        // Nobody can connect before it listens, so nobody gets in before the mode is set.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        let socket = Unserved::Unix(UnixListener::from(std::os::fd::OwnedFd::from(socket)));
        Ok(Bound { place: Place::Unix(path.clone()), socket, entry: Some(entry) })
    };
    bind().map_err(|e: io::Error| failed(listen, &e))
}

/// A socket that a crash has left behind is in the way, but one on which somebody listens is not ours to remove.
fn clear_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// The file of a unix socket, removed when it is dropped, if it is still the same.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathBuf,
    inode: u64,
}

impl Entry {
    fn of(path: PathBuf) -> io::Result<Entry> {
        let inode = fs::symlink_metadata(&path)?.ino();
        Ok(Entry { path, inode })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn failed(listen: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("can not listen on {listen}: {e}"))
}

fn refused(listen: &str, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("can not listen on {listen}: {why}"))
}
