//! A UDP proxy on a machine with several addresses: answers leave from the one that their client has spoken to. Between two
//! networks that the test makes.

use std::process::Stdio;

use crate::support::namespace::Namespace;
use crate::support::programs::{installed, run};
use crate::support::{Room, Running, Serve};

const ADDRESSES: [&str; 2] = ["10.78.0.1", "10.78.0.3"];
const ADDRESSES_V6: [&str; 2] = ["fd78::1", "fd78::3"];
const PORT: u16 = 15_002;

/// Sends back what it gets, on `127.0.0.1:7000`.
const ECHO: &str = r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 7000))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data, peer)
"#;

/// One socket speaks to each of the addresses twice; prints from where each answer came.
const ASK: &str = r#"
import socket, sys
port, addresses = int(sys.argv[1]), sys.argv[2:]
s = socket.socket(socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(30)
for turn in range(2):
    for address in addresses:
        word = f"{address} {turn}".encode()
        s.sendto(word, (address, port))
        data, peer = s.recvfrom(65536)
        assert data == word, (data, word)
        print(peer[0])
"#;

struct Networks {
    client: Namespace,
    server: Namespace,
    #[allow(dead_code)] // kept
    echo: Running,
}

impl Networks {
    fn new() -> Networks {
        let server = Namespace::new();
        let client = server.beside();
        server.run(&format!(
            "ip link add s0 type veth peer name c0 netns {}
             ip addr add 10.78.0.1/24 dev s0; ip addr add 10.78.0.3/24 dev s0
             ip addr add fd78::1/64 dev s0 nodad; ip addr add fd78::3/64 dev s0 nodad; ip link set s0 up",
            client.pid()
        ));
        client.run("ip addr add 10.78.0.2/24 dev c0; ip addr add fd78::2/64 dev c0 nodad; ip link set c0 up");
        let mut echo = server.command(installed("python3"));
        let echo = Running::start(echo.args(["-c", ECHO]).stdin(Stdio::null()));
        echo.wait_for("ready");
        Networks { client, server, echo }
    }

    fn squall(&self, room: &Room, listen: &str) -> Serve {
        let proxy = format!("protocol = \"udp\"\nlisten = \"{listen}:{PORT}\"\nupstream = \"127.0.0.1:7000\"");
        Serve::with(self.server.command(env!("CARGO_BIN_EXE_squall")), room, "", &proxy)
    }

    /// From where the answers came.
    fn ask(&self, addresses: &[&str]) -> Vec<String> {
        let mut command = self.client.command(installed("python3"));
        command.args(["-c", ASK, &PORT.to_string()]).args(addresses);
        run(&mut command).lines().map(str::to_owned).collect()
    }
}

#[test]
fn answers_come_from_the_address_that_was_spoken_to() {
    let (room, nets) = (Room::new(), Networks::new());
    for (listen, spoken) in [("0.0.0.0", ADDRESSES), ("[::]", ADDRESSES_V6), ("[::]", ADDRESSES)] {
        let squall = nets.squall(&room, listen);
        assert_eq!(nets.ask(&spoken), [spoken, spoken].concat(), "{listen}");
        let reading = &squall.client.proxies().unwrap()[0];
        assert_eq!((reading.accepted, reading.dropped), (2, 0), "each address is spoken to for itself");
    }
}

#[test]
fn so_do_those_that_a_fault_has_held() {
    let (room, nets) = (Room::new(), Networks::new());
    let squall = nets.squall(&room, "0.0.0.0");
    let id =
        squall.start("[[fault]]\nkind = \"latency\"\nproxy = \"default\"\ndelay = \"50ms\"\ndirection = \"both\"\n");
    assert_eq!(nets.ask(&ADDRESSES), [ADDRESSES, ADDRESSES].concat());
    squall.stop(&id);
    squall.over(&id);
    assert_eq!(squall.ledger(&id, "latency").len(), 8);
}

#[test]
fn one_address_is_the_one_that_answers() {
    let (room, nets) = (Room::new(), Networks::new());
    let _squall = nets.squall(&room, ADDRESSES[1]);
    assert_eq!(nets.ask(&ADDRESSES[1..]), [ADDRESSES[1]; 2]);
}
