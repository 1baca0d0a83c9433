//! nginx as an upstream.

use std::net::TcpStream;
use std::process::Command;

use super::programs::installed;
use super::{Room, Running, wait};

/// Starts it with these `server` blocks, which listen on these ports of 127.0.0.1, and waits until they do. Its files are in
/// the room.
#[track_caller]
pub fn start(room: &Room, ports: &[u16], servers: &str) -> Running {
    let at = room.directory().display().to_string();
    let config = room.file(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid {at}/nginx.pid; error_log stderr;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/body; keepalive_requests 1000000;\n{servers}\n}}\n"
        ),
    );
    let nginx = Running::start(Command::new(installed("nginx")).args(["-p", &at, "-e", "stderr", "-c", &config]));
    for port in ports {
        wait::until("nginx", || TcpStream::connect(("127.0.0.1", *port)).ok());
    }
    nginx
}
