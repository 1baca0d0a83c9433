//! `/metrics` with the original's names and labels.

use std::fmt::Write;

use super::Shown;
use super::registry::{Registry, Traffic};

impl Registry {
    /// The figures of the proxies and of the process, as far as they are asked for.
    pub(super) fn metrics(&self, shown: Shown) -> String {
        let mut text = String::new();
        if shown.proxies {
            let traffic = self.traffic();
            let received = traffic.iter().map(|of| (of, of.received));
            let sent = traffic.iter().map(|of| (of, of.sent));
            bytes(&mut text, "toxiproxy_proxy_received_bytes_total", "Bytes received, before toxics.", received);
            bytes(&mut text, "toxiproxy_proxy_sent_bytes_total", "Bytes sent, after toxics.", sent);
        }
        if shown.runtime {
            process(&mut text);
        }
        text
    }
}

fn bytes<'a>(text: &mut String, name: &str, about: &str, of: impl Iterator<Item = (&'a Traffic, [u64; 2])>) {
    let _ = write!(text, "# HELP {name} {about}\n# TYPE {name} counter\n");
    for (proxy, figures) in of {
        for (direction, value) in ["upstream", "downstream"].into_iter().zip(figures) {
            let (listener, name_of, upstream) =
                (escaped(&proxy.listen), escaped(&proxy.name), escaped(&proxy.upstream));
            let _ = writeln!(
                text,
                "{name}{{direction=\"{direction}\",listener=\"{listener}\",proxy=\"{name_of}\",upstream=\"{upstream}\"}} {value}"
            );
        }
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Memory and descriptors, where the system tells (Linux).
fn process(text: &mut String) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let mut gauge = |name: &str, about: &str, value: Option<u64>| {
        if let Some(value) = value {
            let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} gauge\n{name} {value}");
        }
    };
    gauge("process_resident_memory_bytes", "Resident memory size in bytes.", kib("VmRSS:").map(|n| n * 1024));
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", kib("VmSize:").map(|n| n * 1024));
    gauge("process_threads", "Threads of the process.", kib("Threads:"));
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
    gauge("process_open_fds", "Number of open file descriptors.", open);
}
