//! Listeners: one socket per proxy, shared by all workers, so that a port in use is an error and unix sockets work alike.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::Shutdown;
use socket2::{Domain, SockAddr, Socket, Type};

use squall_core::fault::Carrier;

use crate::clock::pause;
use crate::socket::Watched;
use crate::udp;
use crate::ways::Door;
use crate::worker::{Local, Worker};

/// Connections that the kernel completes ahead of the workers.
const BACKLOG: i32 = 4096;
/// First wait when descriptors are exhausted; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(320);

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Bound {
    /// One that all workers share; of a UDP proxy, one for each.
    sockets: Vec<OwnedFd>,
    pub(crate) carrier: Carrier,
    /// None: a unix socket.
    pub(crate) address: Option<SocketAddr>,
    /// As a person would write it, with the port that port 0 became.
    pub(crate) text: String,
    file: Option<File>,
}

/// A unix socket's place; removed with it, unless somebody else has put another file there.
#[derive(Debug)]
struct File {
    path: PathBuf,
    identity: (u64, u64),
}

impl Bound {
    /// Where it is reached.
    pub(crate) fn door(&self) -> Door {
        match self.address {
            Some(address) if self.carrier == Carrier::Datagrams => Door::Udp(address),
            Some(address) => Door::Tcp(address),
            None => Door::Unix(self.text.strip_prefix("unix:").unwrap_or(&self.text).into()),
        }
    }

    /// Listens on `address:port`, `[v6]:port`, `localhost:port` or `unix:PATH`. A file left behind by a process that
    /// is gone is replaced.
    pub(crate) fn bind(listen: &str) -> io::Result<Bound> {
        if let Some(path) = listen.strip_prefix("unix:") {
            return bind_unix(Path::new(path), listen);
        }
        let address = address(listen).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "that is no address (of host names only localhost may listen)")
        })?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?; // connections of an earlier run may still be closing
        socket.set_tcp_nodelay(true)?; // accepted sockets inherit it
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let address = socket.local_addr()?.as_socket();
        let text = address.map_or_else(|| listen.to_owned(), |address| address.to_string());
        Ok(Bound { sockets: vec![socket.into()], carrier: Carrier::Stream, address, text, file: None })
    }

    /// Takes datagrams on `address:port`, `[v6]:port` or `localhost:port`, for so many workers.
    pub(crate) fn bind_datagrams(listen: &str, workers: usize) -> io::Result<Bound> {
        let address = address(listen).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "that is no address that datagrams can be sent to")
        })?;
        let (sockets, address) = udp::bind(address, workers)?;
        Ok(Bound {
            sockets,
            carrier: Carrier::Datagrams,
            address: Some(address),
            text: address.to_string(),
            file: None,
        })
    }

    /// Whether connections to any address that the kernel hands over are taken (IP_TRANSPARENT).
    pub(crate) fn take_any(&self, any: bool) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let (Some(_), Carrier::Stream, Some(socket)) = (self.address, self.carrier, self.sockets.first()) {
            let socket = socket2::SockRef::from(socket);
            if socket.ip_transparent_v4()? != any {
                socket.set_ip_transparent_v4(any)?;
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = any;
        Ok(())
    }

    /// The connections that wait to be accepted, at most as many as can wait: closing the socket would reset them.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (OwnedFd, Option<SocketAddr>)> {
        let listener = self.sockets.first().filter(|_| self.carrier == Carrier::Stream);
        (0..BACKLOG).map_while(move |_| {
            loop {
                match accept(listener?) {
                    Err(Errno::INTR | Errno::CONNABORTED) => {}
                    accepted => return accepted.ok(),
                }
            }
        })
    }

    /// Another descriptor of the worker's socket; none: it has no part in this one.
    pub(crate) fn share(&self, worker: usize) -> Option<io::Result<OwnedFd>> {
        let socket = match self.carrier {
            Carrier::Stream => self.sockets.first(),
            Carrier::Datagrams => self.sockets.get(worker),
        };
        socket.map(OwnedFd::try_clone)
    }
}

/// No name is looked up: that can take seconds.
fn address(listen: &str) -> Option<SocketAddr> {
    match listen.strip_prefix("localhost:") {
        Some(port) => Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()),
        None => listen.parse().ok(),
    }
}

impl Drop for Bound {
    /// Stops listening at once, whatever descriptors the workers still have.
    fn drop(&mut self) {
        for socket in &self.sockets {
            let _not_everywhere = rustix::net::shutdown(socket, Shutdown::Both);
        }
        if let Some(file) = &self.file
            && identity(&file.path).is_ok_and(|identity| identity == file.identity)
        {
            let _gone_already = std::fs::remove_file(&file.path);
        }
    }
}

fn bind_unix(path: &Path, listen: &str) -> io::Result<Bound> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path, &address) => {
            std::fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        other => other?,
    }
    socket.listen(BACKLOG)?;
    let file = File { path: path.to_owned(), identity: identity(path)? };
    Ok(Bound {
        sockets: vec![socket.into()],
        carrier: Carrier::Stream,
        address: None,
        text: listen.to_owned(),
        file: Some(file),
    })
}

/// A socket file that nobody listens on.
fn is_left_behind(path: &Path, address: &SockAddr) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let answer = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(address)
    };
    is_socket && answer().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// Accepts for one proxy on one worker until the listener is closed.
pub(crate) async fn accept_all(worker: Rc<Worker>, local: Rc<Local>, listener: Watched, tcp: bool) {
    let mut wait = FIRST_WAIT;
    loop {
        if worker.common.is_full() {
            back_off(&worker, &local, &mut wait, "connections").await;
            continue;
        }
        let Ok(mut guard) = listener.readable().await else { return };
        match accept(&listener) {
            Ok((fd, client)) => {
                wait = FIRST_WAIT;
                worker.welcome(&local, fd, client, tcp);
            }
            Err(Errno::AGAIN) => guard.clear_ready(),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                back_off(&worker, &local, &mut wait, "descriptors").await;
            }
            Err(Errno::INVAL) => return, // no longer listening
            Err(error) => {
                tracing::warn!(proxy = &*local.proxy.name, %error, "accepting failed");
                pause(wait).await;
            }
        }
    }
}

async fn back_off(worker: &Worker, local: &Local, wait: &mut Duration, what: &str) {
    if *wait == FIRST_WAIT {
        tracing::warn!(proxy = &*local.proxy.name, worker = worker.id, "out of {what}: accepting pauses");
    }
    pause(*wait).await;
    *wait = (*wait * 2).min(LONGEST_WAIT);
}

fn accept(listener: &impl AsFd) -> Result<(OwnedFd, Option<SocketAddr>), Errno> {
    #[cfg(target_os = "linux")]
    let (fd, client) = {
        use rustix::net::SocketFlags;
        rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?
    };
    #[cfg(not(target_os = "linux"))]
    let (fd, client) = {
        let (fd, client) = rustix::net::acceptfrom(listener)?;
        rustix::io::ioctl_fionbio(&fd, true)?;
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        (fd, client)
    };
    Ok((fd, client.and_then(|client| SocketAddr::try_from(client).ok())))
}
