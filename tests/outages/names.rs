//! Names, before a real DNS server.

use std::net::UdpSocket;

use super::Outage;
use crate::support::Room;
use crate::support::dns::{Dnsmasq, dig};

#[test]
fn a_name_loses_its_address_and_has_it_again() {
    let room = Room::new();
    let dnsmasq = Dnsmasq::start(&room, "192.0.2.1 www.example.com\n192.0.2.2 db.other.org\n");
    let upstream = dnsmasq.address.to_string();
    // an address of its own: on 127.0.0.1 another test may be given the port before the drill has it
    let listen = UdpSocket::bind("127.53.0.1:0").unwrap().local_addr().unwrap();
    let drill = std::thread::spawn(move || {
        let set = [
            ("upstream", &*upstream),
            ("listen", &listen.to_string()),
            ("name", "*.example.com"),
            ("at", "1500ms"),
            ("outage", "2s"),
            ("recovery", "2s"),
        ];
        Outage::run("dns-empty-record", &set)
    });
    let (mut lost, mut kept) = (Vec::new(), 0);
    while !drill.is_finished() {
        let dug = dig(listen, &["www.example.com", "A"]);
        let addresses: Vec<String> = dug.addresses().into_iter().map(str::to_owned).collect();
        if dug.code == 0 && lost.last() != Some(&addresses) {
            assert_eq!(dug.status(), "NOERROR", "an empty answer is no error: {dug:?}");
            lost.push(addresses);
        }
        let other = dig(listen, &["db.other.org", "A"]);
        if other.code == 0 {
            assert_eq!(other.addresses(), ["192.0.2.2"], "{other:?}");
            kept += 1;
        }
    }
    let outage = drill.join().unwrap();
    assert_eq!(lost, [vec!["192.0.2.1".to_owned()], vec![], vec!["192.0.2.1".to_owned()]]);
    assert!(kept > 10, "{kept} answers about the other name");
    assert!(outage.hits("no-address", "injected") >= 3.0, "{:#}", outage.report["faults"]);
}
