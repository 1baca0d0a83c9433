//! toxiproxy_rust, unmodified: everything it can do, against the API and upstream of the command line.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use toxiproxy_rust::client::Client;
use toxiproxy_rust::proxy::ProxyPack;

fn echo(listen: &str) -> std::io::Result<Duration> {
    let began = Instant::now();
    let mut line = TcpStream::connect(listen)?;
    line.write_all(b"hello")?;
    line.read_exact(&mut [0; 5])?;
    Ok(began.elapsed())
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let client = Client::new(&words[1]);
    assert!(client.is_running());
    assert!(client.version().unwrap().contains("2.12.0"));
    let listen = words[3].clone();
    let pack = ProxyPack::new("echo".into(), listen.clone(), words[2].clone());
    assert_eq!(client.populate(vec![pack]).unwrap().len(), 1);
    assert_eq!(client.all().unwrap().len(), 1);
    let proxy = client.find_proxy("echo").unwrap();
    echo(&listen).unwrap();
    proxy
        .with_latency("downstream".into(), 200, 0, 1.0)
        .apply(|| assert!(echo(&listen).unwrap() >= Duration::from_millis(199)))
        .unwrap();
    assert!(proxy.toxics().unwrap().is_empty());
    proxy.with_bandwidth("upstream".into(), 100, 1.0).with_slow_close("upstream".into(), 1, 1.0);
    proxy.with_timeout("downstream".into(), 100, 0.0).with_slicer("downstream".into(), 3, 1, 10, 1.0);
    proxy.with_limit_data("downstream".into(), 1_000, 1.0);
    assert_eq!(proxy.toxics().unwrap().len(), 5);
    echo(&listen).unwrap();
    proxy.delete_all_toxics().unwrap();
    proxy.with_down(|| assert!(echo(&listen).is_err())).unwrap();
    echo(&listen).unwrap();
    client.reset().unwrap();
    client.find_and_reset_proxy("echo").unwrap().delete().unwrap();
    assert!(client.all().unwrap().is_empty());
    println!("done");
}
