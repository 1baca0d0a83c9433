//! The proxies under test, each with one worker on the first core.

mod http;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use http::Version;

use crate::datagrams::answers;

/// A running proxy in front of the upstream; ended by process id when dropped.
pub struct Peer {
    pub name: &'static str,
    pub address: SocketAddr,
    /// A second proxy of the same squall.
    pub second: SocketAddr,
    /// Where it takes HTTP/2.
    pub two: SocketAddr,
    child: Option<Child>,
    /// Where squall's control port is.
    pub control: Option<String>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        for id in self.processes() {
            let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
            let _ = id.map(|id| rustix::process::kill_process(id, rustix::process::Signal::KILL));
        }
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

impl Peer {
    /// No proxy at all.
    pub fn direct(upstream: SocketAddr) -> Peer {
        Peer { name: "direct", address: upstream, second: upstream, two: upstream, child: None, control: None }
    }

    /// squall without a fault; pinned to one core it has one worker.
    pub fn squall(name: &'static str, upstream: SocketAddr, dir: &Path) -> Peer {
        Peer::squall_speaking("protocol = \"tcp\"", env!("CARGO_BIN_EXE_squall"), name, upstream, dir)
    }

    /// `spoken`: the proxy's protocol, and what belongs to it.
    fn squall_speaking(spoken: &str, program: &str, name: &'static str, upstream: SocketAddr, dir: &Path) -> Peer {
        let address = free_port();
        let (second, control) = (free_port(), free_port().to_string());
        let config = dir.join(format!("squall-{}.toml", address.port()));
        let state = config.with_extension("state");
        write(
            &config,
            &format!(
                "environment = \"local\"\n[control]\nlisten = \"{control}\"\nstate = \"{}\"\n\
                 [[proxy]]\nname = \"bench\"\n{spoken}\nlisten = \"{address}\"\nupstream = \"{upstream}\"\n\
                 [[proxy]]\nname = \"second\"\nlisten = \"{second}\"\nupstream = \"{upstream}\"\n",
                state.display()
            ),
        );
        let mut command = Command::new(program);
        command.args(["serve", "--config"]).arg(&config);
        let mut peer = Peer::start(name, address, command, Some(control));
        peer.second = second;
        peer
    }

    /// `squall toxiproxy` without a proxy yet; requests go to its compatible port.
    pub fn toxiproxy(at: SocketAddr) -> Peer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command.args(["toxiproxy", "-host", "127.0.0.1", "-port", &at.port().to_string()]);
        Peer::start("squall toxiproxy", at, command, Some(at.to_string()))
    }

    /// HAProxy in TCP mode with splicing.
    pub fn haproxy(upstream: SocketAddr, dir: &Path) -> Peer {
        let address = free_port();
        let config = dir.join("haproxy.cfg");
        write(
            &config,
            &format!(
                "global\n nbthread 1\n maxconn 9300\n maxpipes 300\ndefaults\n mode tcp\n option splice-auto\n timeout connect 5s\n \
                 timeout client 1h\n timeout server 1h\nfrontend f\n bind {address}\n default_backend b\nbackend b\n \
                 server s {upstream}\n"
            ),
        );
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(&config);
        Peer::start("haproxy", address, command, None)
    }

    /// nginx's stream module.
    pub fn nginx(upstream: SocketAddr, dir: &Path) -> Peer {
        let address = free_port();
        let config = dir.join("nginx.conf");
        write(
            &config,
            &format!(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\n\
                 worker_processes 1;\nworker_rlimit_nofile 20000;\npid {0}/nginx.pid;\nerror_log {0}/nginx.log crit;\n\
                 events {{ worker_connections 20000; }}\nstream {{ server {{ listen {address}; proxy_pass {upstream}; \
                 proxy_timeout 1h; }} }}\n",
                dir.display()
            ),
        );
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&config).arg("-p").arg(dir);
        Peer::start("nginx", address, command, None)
    }

    /// squall on UDP.
    pub async fn squall_udp(name: &'static str, upstream: SocketAddr, dir: &Path) -> Peer {
        let (address, control) = (free_udp_port(), free_port().to_string());
        let config = dir.join(format!("udp-{}.toml", name.replace(' ', "-")));
        let state = config.with_extension("state");
        write(
            &config,
            &format!(
                "environment = \"local\"\n[control]\nlisten = \"{control}\"\nstate = \"{}\"\n[[proxy]]\nname = \"bench\"\n\
                 protocol = \"udp\"\nlisten = \"{address}\"\nupstream = \"{upstream}\"\n",
                state.display()
            ),
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command.args(["serve", "--config"]).arg(&config);
        Peer::start_udp(name, address, command, Some(control)).await
    }

    /// socat, which has a process for each client.
    pub async fn socat_udp(upstream: SocketAddr) -> Peer {
        let address = free_udp_port();
        let mut command = Command::new("socat");
        command.args(["-lf", "/dev/null"]); // each client that is gone is an error to it
        command.arg(format!("UDP4-LISTEN:{},bind={},fork,reuseaddr", address.port(), address.ip()));
        command.arg(format!("UDP4:{upstream}"));
        Peer::start_udp("socat", address, command, None).await
    }

    /// nginx's stream module on UDP.
    pub async fn nginx_udp(upstream: SocketAddr, dir: &Path) -> Peer {
        let address = free_udp_port();
        let config = dir.join("nginx-udp.conf");
        write(
            &config,
            &format!(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\n\
                 worker_processes 1;\npid {0}/nginx-udp.pid;\nerror_log {0}/nginx-udp.log crit;\n\
                 events {{ worker_connections 4000; }}\nstream {{ server {{ listen {address} udp; proxy_pass {upstream}; \
                 proxy_timeout 60s; }} }}\n",
                dir.display()
            ),
        );
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&config).arg("-p").arg(dir);
        Peer::start_udp("nginx", address, command, None).await
    }

    fn start(name: &'static str, address: SocketAddr, command: Command, control: Option<String>) -> Peer {
        let peer = Peer::spawn(name, address, command, control);
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{name} does not listen on {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        peer
    }

    async fn start_udp(name: &'static str, address: SocketAddr, command: Command, control: Option<String>) -> Peer {
        let peer = Peer::spawn(name, address, command, control);
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.connect(address).await.expect("a way to it");
        assert!(answers(&socket, Duration::from_secs(10)).await, "{name} does not carry datagrams on {address}");
        peer
    }

    fn spawn(name: &'static str, address: SocketAddr, mut command: Command, control: Option<String>) -> Peer {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", "0"]).arg(command.get_program()).args(command.get_args());
        command = pinned;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        let child = child.unwrap_or_else(|why| {
            panic!("{name} does not start ({why}): apt-get install haproxy nginx libnginx-mod-stream socat util-linux")
        });
        Peer { name, address, second: address, two: address, child: Some(child), control }
    }

    /// It and the processes that it has started for its clients.
    fn processes(&self) -> Vec<u32> {
        let Some(child) = &self.child else { return Vec::new() };
        let id = child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        std::iter::once(id).chain(children.split_whitespace().filter_map(|id| id.parse().ok())).collect()
    }

    /// CPU time used so far by all its threads.
    pub fn cpu(&self) -> Duration {
        let tasks = |id: u32| std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
        let ns: u64 = (self.processes().into_iter().flat_map(tasks))
            .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
            .filter_map(|stat| stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()))
            .sum();
        Duration::from_nanos(ns)
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let Some(child) = &self.child else { return 0 };
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// Starts a scenario on squall; it ends with the process.
    pub fn start_scenario(&self, text: &str, dir: &Path) -> String {
        let file = dir.join("scenario.toml");
        write(&file, text);
        let body = self.request(
            "POST",
            "/v1/experiments",
            "application/toml",
            &std::fs::read_to_string(&file).unwrap_or_default(),
        );
        let id = field(&body, "id");
        self.request(
            "POST",
            &format!("/v1/experiments/{id}/start"),
            "application/json",
            r#"{"detach":true,"max":"10m"}"#,
        );
        id
    }

    /// One request to squall's control port; the body of the answer.
    pub fn request(&self, method: &str, path: &str, kind: &str, body: &str) -> String {
        let control = self.control.as_deref().unwrap_or_default();
        let mut stream = TcpStream::connect(control).expect("squall's control port");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {control}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }
}

/// A field of a flat JSON object, as text.
pub fn field(json: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    match &value[name] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn free_udp_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port")
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file in the bench's own directory");
}
