//! Listeners: one socket per proxy, shared by all workers, so that a port in use is an error and unix sockets work alike.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::Shutdown;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use squall_core::fault::Carrier;
use squall_core::time::{MILLI, Time};
use tokio::sync::Notify;

use crate::clock::{SystemClock, pause};
use crate::socket::{Watched, watch};
use crate::udp;
use crate::ways::Door;
use crate::worker::{Local, Worker};

/// Connections that the kernel completes ahead of the workers.
const BACKLOG: i32 = 4096;
/// First wait when descriptors are exhausted; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(320);

/// A socket that listens. Dropping it ends that for good.
#[derive(Debug)]
pub(crate) struct Bound {
    sockets: Sockets,
    pub(crate) carrier: Carrier,
    /// None: a unix socket.
    pub(crate) address: Option<SocketAddr>,
    /// As a person would write it, with the port that port 0 became.
    pub(crate) text: String,
}

#[derive(Debug)]
enum Sockets {
    /// All workers share it.
    Listener(Arc<Listener>),
    /// One for each worker.
    Datagrams(Vec<OwnedFd>),
}

/// The socket of a [`Bound`], which a worker may shut for a while.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    file: Option<File>,
    state: Mutex<State>,
    /// When it was opened again the last time, monotonic ns.
    reopened: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Shut,
    /// For good.
    Over,
}

/// How long a client may take to learn that it was refused, ns.
const LEARNS: Time = 100 * MILLI;

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
        let bound = |address: SocketAddr| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            socket.set_reuse_address(true)?; // connections of an earlier run may still be closing
            socket.set_tcp_nodelay(true)?; // accepted sockets inherit it
            socket.bind(&address.into())?;
            io::Result::Ok(socket)
        };
        let mut socket = bound(address)?;
        if address.port() == 0
            && let Some(chosen) = socket.local_addr()?.as_socket()
        {
            // a port that the kernel chose is given back when the listener is shut; one that was asked for is kept
            socket = bound(chosen)?;
        }
        socket.listen(BACKLOG)?;
        let address = socket.local_addr()?.as_socket();
        let text = address.map_or_else(|| listen.to_owned(), |address| address.to_string());
        let sockets = Sockets::Listener(Listener::new(socket, None));
        Ok(Bound { sockets, carrier: Carrier::Stream, address, text })
    }

    /// Takes datagrams on `address:port`, `[v6]:port` or `localhost:port`, for so many workers.
    pub(crate) fn bind_datagrams(listen: &str, workers: usize) -> io::Result<Bound> {
        let address = address(listen).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "that is no address that datagrams can be sent to")
        })?;
        let (sockets, address) = udp::bind(address, workers)?;
        let (sockets, text) = (Sockets::Datagrams(sockets), address.to_string());
        Ok(Bound { sockets, carrier: Carrier::Datagrams, address: Some(address), text })
    }

    /// Whether connections to any address that the kernel hands over are taken (IP_TRANSPARENT).
    pub(crate) fn take_any(&self, any: bool) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let (Some(_), Some(listener)) = (self.address, self.listener()) {
            let socket = SockRef::from(&listener.socket);
            if socket.ip_transparent_v4()? != any {
                socket.set_ip_transparent_v4(any)?;
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = any;
        Ok(())
    }

    /// The one socket that all workers share; none: it takes datagrams.
    pub(crate) fn listener(&self) -> Option<&Arc<Listener>> {
        match &self.sockets {
            Sockets::Listener(listener) => Some(listener),
            Sockets::Datagrams(_) => None,
        }
    }

    /// Another descriptor of the worker's socket; none: it has no part in this one.
    pub(crate) fn share(&self, worker: usize) -> Option<io::Result<OwnedFd>> {
        let socket = match &self.sockets {
            Sockets::Listener(listener) => Some(&listener.socket),
            Sockets::Datagrams(sockets) => sockets.get(worker),
        };
        socket.map(OwnedFd::try_clone)
    }
}

impl Listener {
    fn new(socket: Socket, file: Option<File>) -> Arc<Listener> {
        Arc::new(Listener { socket: socket.into(), file, state: Mutex::new(State::Open), reopened: AtomicU64::new(0) })
    }

    pub(crate) fn is_tcp(&self) -> bool {
        self.file.is_none()
    }

    /// The connections that wait to be accepted, at most as many as can wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (OwnedFd, Option<SocketAddr>)> {
        (0..BACKLOG).map_while(|_| {
            loop {
                match accept(&self.socket) {
                    Err(Errno::INTR | Errno::CONNABORTED) => {}
                    accepted => return accepted.ok(),
                }
            }
        })
    }

    /// Shuts it, or has it listen again; whether that changed anything. Take those in who wait before it is shut.
    ///
    /// # Errors
    /// It is not as wanted; try again.
    pub(crate) fn set_shut(&self, shut: bool) -> io::Result<bool> {
        let mut state = self.state();
        match (*state, shut) {
            (State::Open, true) => {
                self.shut()?;
                *state = State::Shut;
            }
            (State::Shut, false) => {
                self.reopen()?;
                *state = State::Open;
            }
            (State::Open, false) | (State::Shut, true) | (State::Over, _) => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Nobody listens from here on: the kernel refuses who comes, and the address stays taken.
    fn shut(&self) -> io::Result<()> {
        if let Some(file) = &self.file {
            return file.shut();
        }
        // a bound socket that does not listen shares its port with whoever may reuse it, so it may not
        SockRef::from(&self.socket).set_reuse_address(false)?;
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Both)?)
    }

    /// Whether it is shut, or was a moment ago.
    pub(crate) fn is_shut(&self, now: Time) -> bool {
        *self.state() == State::Shut || now < self.reopened.load(Ordering::Relaxed).saturating_add(LEARNS)
    }

    fn reopen(&self) -> io::Result<()> {
        self.reopened.store(SystemClock::mono(), Ordering::Relaxed);
        if let Some(file) = &self.file {
            return file.reopen();
        }
        let socket = SockRef::from(&self.socket);
        socket.set_reuse_address(true)?; // connections made through it before may still be open
        socket.listen(BACKLOG)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    /// A unix socket can not stop listening: it gives its place to one that does not listen.
    fn shut(&self) -> io::Result<()> {
        if identity(&self.path)? != self.identity {
            return Err(io::Error::other("somebody else has taken the place of the socket"));
        }
        std::fs::rename(&self.path, self.aside())?;
        let stand_in = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let bound = SockAddr::unix(&self.path).and_then(|path| stand_in.bind(&path));
        bound.inspect_err(|_| drop(std::fs::rename(self.aside(), &self.path)))
    }

    fn reopen(&self) -> io::Result<()> {
        std::fs::rename(self.aside(), &self.path)
    }

    fn aside(&self) -> PathBuf {
        aside(&self.path)
    }
}

/// Where a unix socket lies while another stands in for it.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".down");
    name.into()
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
        let listener = match &self.sockets {
            Sockets::Listener(listener) => listener,
            Sockets::Datagrams(sockets) => {
                for socket in sockets {
                    let _not_everywhere = rustix::net::shutdown(socket, Shutdown::Both);
                }
                return;
            }
        };
        let mut state = listener.state();
        let file = listener.file.as_ref();
        if let (Some(file), State::Shut) = (file, *state) {
            let _gone_already = file.reopen();
        }
        *state = State::Over;
        let _not_everywhere = rustix::net::shutdown(&listener.socket, Shutdown::Both);
        if let Some(file) = file
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
    let aside = aside(path);
    if SockAddr::unix(&aside).is_ok_and(|address| is_left_behind(&aside, &address)) {
        std::fs::remove_file(&aside)?;
    }
    let file = File { path: path.to_owned(), identity: identity(path)? };
    let sockets = Sockets::Listener(Listener::new(socket, Some(file)));
    Ok(Bound { sockets, carrier: Carrier::Stream, address: None, text: listen.to_owned() })
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

/// Accepts for one proxy on one worker, until it is told that the listener has ended. `doors`: the listener was shut or
/// opened again.
pub(crate) async fn accept_all(worker: Rc<Worker>, local: Rc<Local>, socket: OwnedFd, tcp: bool, doors: Rc<Notify>) {
    let mut socket = socket;
    loop {
        let listener = match watch(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(proxy = &*local.proxy.name, %error, "a listener could not be watched");
                return;
            }
        };
        tokio::select! {
            () = accept_some(&worker, &local, &listener, tcp) => {}
            () = doors.notified() => {}
        }
        socket = listener.into_inner(); // what the runtime knows of a socket that was shut stays with it
    }
}

/// Accepts until the listener is shut, and then waits. Returns when it has to be watched anew.
async fn accept_some(worker: &Rc<Worker>, local: &Rc<Local>, listener: &Watched, tcp: bool) {
    let mut wait = FIRST_WAIT;
    loop {
        if worker.common.is_full() {
            back_off(worker, local, &mut wait, "connections").await;
            continue;
        }
        let Ok(mut guard) = listener.readable().await else { return std::future::pending().await };
        match accept(listener) {
            Ok((fd, client)) => {
                wait = FIRST_WAIT;
                worker.welcome(local, fd, client, tcp);
            }
            // it was shut and opened again since it is watched, which the runtime never forgets
            Err(Errno::AGAIN) if guard.ready().is_read_closed() => return,
            Err(Errno::AGAIN) => guard.clear_ready(),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                back_off(worker, local, &mut wait, "descriptors").await;
            }
            Err(Errno::INVAL) => return std::future::pending().await, // not listening: somebody will say when it does
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_door_that_is_shut_keeps_its_port_and_opens_again_beside_open_connections() {
        let bound = Bound::bind("127.0.0.1:0").unwrap();
        let (address, listening) = (bound.address.unwrap(), bound.listener().unwrap());
        let mut open = Vec::new();
        for _ in 0..50 {
            open.push(TcpStream::connect(address).unwrap());
            open.extend(listening.waiting().map(|(socket, _)| TcpStream::from(socket)));
            assert!(listening.set_shut(true).unwrap());
            assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            assert_eq!(TcpListener::bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
            assert!(!listening.set_shut(true).unwrap(), "nothing changes");
            assert!(listening.set_shut(false).unwrap());
        }
        assert_eq!(open.len(), 100);
        listening.set_shut(true).unwrap();
        let listening = listening.clone();
        drop(bound);
        assert!(!listening.set_shut(false).unwrap(), "it has ended");
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_unix_socket_that_is_shut_has_a_stand_in() {
        let path = std::env::temp_dir().join(format!("squall-door-{}", std::process::id()));
        let listen = format!("unix:{}", path.display());
        let bound = Bound::bind(&listen).unwrap();
        for _ in 0..3 {
            bound.listener().unwrap().set_shut(true).unwrap();
            assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            bound.listener().unwrap().set_shut(false).unwrap();
            UnixStream::connect(&path).unwrap();
        }
        drop(bound);
        // what a process leaves that is killed while it is shut
        [path.clone(), aside(&path)].iter().for_each(|path| drop(UnixListener::bind(path).unwrap()));
        let bound = Bound::bind(&listen).unwrap();
        UnixStream::connect(&path).unwrap();
        assert!(!aside(&path).exists());
        bound.listener().unwrap().set_shut(true).unwrap();
        drop(bound);
        assert!(!path.exists() && !aside(&path).exists());
    }
}
