//! The variables by which programs find a proxy, and whom to trust. Which client obeys which was measured; docs/wrap.md has
//! the table.

use std::net::SocketAddr;

use super::trust::{Files, STORE_PASSWORD};

/// Replace a program's roots, so each gets the bundle: this machine's roots and squall's CA.
const BUNDLE: [&str; 11] = [
    "SSL_CERT_FILE",                    // OpenSSL and what is built on it, Go, rustls-native-certs
    "REQUESTS_CA_BUNDLE",               // requests, boto3
    "CURL_CA_BUNDLE",                   // curl, requests
    "GIT_SSL_CAINFO",                   // git
    "AWS_CA_BUNDLE",                    // AWS CLI and SDKs
    "DENO_CERT",                        // Deno
    "CARGO_HTTP_CAINFO",                // cargo
    "PERL_LWP_SSL_CA_FILE",             // Perl's LWP
    "PIP_CERT",                         // pip
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", // gRPC's C core
    "HTTPLIB2_CA_CERTS",                // httplib2
];

/// All of them. `java`: what `JAVA_TOOL_OPTIONS` says already.
pub fn all(front: SocketAddr, files: &Files, no_proxy: &str, java: Option<&str>) -> Vec<(String, String)> {
    let mut set = Vec::new();
    let mut put = |name: &str, value: String| set.push((name.to_owned(), value));
    let url = format!("http://{front}");
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
        put(name, url.clone()); // curl reads http_proxy only in lower case
    }
    put("NO_PROXY", no_proxy.to_owned());
    put("no_proxy", no_proxy.to_owned());
    put("NODE_USE_ENV_PROXY", "1".into()); // Node from 24 on
    for name in BUNDLE {
        put(name, files.bundle.display().to_string());
    }
    put("NODE_EXTRA_CA_CERTS", files.ca.display().to_string()); // adds
    put("JAVA_TOOL_OPTIONS", java_options(front, files, no_proxy, java));
    set
}

fn java_options(front: SocketAddr, files: &Files, no_proxy: &str, before: Option<&str>) -> String {
    let (host, port) = (front.ip(), front.port());
    let direct: Vec<String> = no_proxy.split(',').filter(|it| !it.is_empty()).map(java_host).collect();
    let own = [
        format!("-Dhttp.proxyHost={host} -Dhttp.proxyPort={port}"),
        format!("-Dhttps.proxyHost={host} -Dhttps.proxyPort={port}"),
        format!("-Dhttp.nonProxyHosts={}", direct.join("|")),
        format!("-Djavax.net.ssl.trustStore={}", quoted(&files.store.display().to_string())),
        format!("-Djavax.net.ssl.trustStoreType=JKS -Djavax.net.ssl.trustStorePassword={STORE_PASSWORD}"),
    ];
    before.into_iter().map(str::to_owned).chain(own).collect::<Vec<_>>().join(" ")
}

/// As Java writes hosts that go past a proxy.
fn java_host(entry: &str) -> String {
    match entry.strip_prefix('.') {
        Some(domain) => format!("*.{domain}"),
        None if entry.contains(':') => format!("[{entry}]"),
        None => entry.to_owned(),
    }
}

/// The JVM splits its options at spaces, but not within quotes.
fn quoted(path: &str) -> String {
    if path.contains(' ') { format!("\"{path}\"") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_client_is_told_in_its_own_way() {
        let files = Files {
            roots: "/r/roots.pem".into(),
            bundle: "/r/bundle.pem".into(),
            ca: "/c/ca.pem".into(),
            store: "/a b/roots.jks".into(),
        };
        let set = all("127.0.0.1:4711".parse().unwrap(), &files, "localhost,.corp.test,::1", Some("-Xmx1g"));
        let value = |name: &str| set.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("https_proxy"), Some("http://127.0.0.1:4711"));
        assert_eq!(value("NO_PROXY"), Some("localhost,.corp.test,::1"));
        assert_eq!(value("SSL_CERT_FILE"), Some("/r/bundle.pem"));
        assert_eq!(value("NODE_EXTRA_CA_CERTS"), Some("/c/ca.pem"));
        let java = value("JAVA_TOOL_OPTIONS").unwrap();
        assert!(java.starts_with("-Xmx1g -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=4711 "), "{java}");
        assert!(java.contains("nonProxyHosts=localhost|*.corp.test|[::1] "), "{java}");
        assert!(java.contains("trustStore=\"/a b/roots.jks\" "), "{java}");
    }
}
