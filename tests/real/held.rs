//! As many connections held as descriptors allow: how long it takes until the last byte of the last of them is through, after
//! an abort, and when the starter falls silent instead.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::support::{Room, Serve, turn, wait};

/// Descriptors of the test itself, and of squall beside its connections.
const OTHERS: u64 = 600;
/// More would need more ports than a client has.
const MOST: u64 = 9_000;
/// Longer than any machine takes: what is measured is printed, not held against this one.
const AT_MOST: Duration = Duration::from_secs(30);

/// Clients on their way to an upstream that tells of each byte when it comes.
struct Crowd {
    open: Vec<TcpStream>,
    heard: mpsc::UnboundedReceiver<Instant>,
}

impl Crowd {
    /// Each has said one byte.
    async fn gather(listener: TcpListener, squall: std::net::SocketAddr, many: usize) -> Crowd {
        let (tell, heard) = mpsc::unbounded_channel();
        let tell = Arc::new(tell);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    while stream.read_u8().await.is_ok() {
                        let _ = tell.send(Instant::now());
                    }
                });
            }
        });
        let mut clients = JoinSet::new();
        let mut open = Vec::new();
        for _ in 0..many {
            if clients.len() == 200 {
                open.push(clients.join_next().await.unwrap().unwrap());
            }
            clients.spawn(async move {
                let mut client = TcpStream::connect(squall).await.unwrap();
                client.write_all(b"x").await.unwrap();
                client
            });
        }
        while let Some(client) = clients.join_next().await {
            open.push(client.unwrap());
        }
        Crowd { open, heard }
    }

    /// The last of so many bytes that come from now on.
    async fn last(&mut self, many: usize) -> Instant {
        let mut last = Instant::now();
        for _ in 0..many {
            last = tokio::time::timeout(AT_MOST, self.heard.recv()).await.expect("a byte").unwrap();
        }
        last
    }
}

#[test]
fn everything_that_descriptors_allow_goes_on_after_an_abort_and_without_its_starter() {
    let _turn = turn();
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let many = usize::try_from((allowed.saturating_sub(OTHERS) / 2).min(MOST)).unwrap();
    let driven = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (runtime, (_over, driving)) = (driven.handle().clone(), oneshot::channel::<()>());
    std::thread::spawn(move || driven.block_on(driving)); // until the test is over
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let room = Room::new();
    let serve = Serve::before(&room, listener.local_addr().unwrap());
    let hang = "[[fault]]\nkind = \"partition\"\nproxy = \"default\"\ndirection = \"upstream\"\n";
    let mut crowd = runtime.block_on(Crowd::gather(listener, serve.address, many));
    runtime.block_on(crowd.last(many)); // all are through, and open
    let say = |crowd: &mut Crowd| {
        runtime.block_on(async {
            for client in &mut crowd.open {
                client.write_all(b"y").await.unwrap();
            }
        });
    };
    let held = |id: &str| serve.client.view(id).unwrap().faults[0].tally.held == many as u64;

    let id = serve.start(hang);
    say(&mut crowd);
    wait::within(AT_MOST, "all to be held", || held(&id).then_some(()));
    let asked = Instant::now();
    let aborting = serve.client.abort(&id).unwrap();
    let answered = asked.elapsed();
    let after_abort = runtime.block_on(crowd.last(many)).saturating_duration_since(asked);
    serve.over(&id);

    let id = serve.submit(hang);
    serve.client.start(&id, None).unwrap();
    say(&mut crowd);
    let mut renewed = Instant::now();
    wait::within(AT_MOST, "all to be held", || {
        renewed = Instant::now();
        serve.client.renew(&id).unwrap();
        held(&id).then_some(())
    });
    // nobody renews any more: as with a cut connection, all that squall has is the lease of two seconds
    let lease = Duration::from_secs(2);
    let silent = runtime.block_on(crowd.last(many)).saturating_duration_since(renewed);
    assert!(silent >= lease, "before its lease was over: {silent:?}");
    let view = serve.over(&id);
    assert!(view.reason.as_ref().is_some_and(|reason| reason.contains("lease ran out")), "{view:?}");
    let (abort, late) = (&aborting.abort, silent - lease);
    eprintln!(
        "{many} held connections: the abort was answered after {answered:?} ({abort:?}), the last byte was through after \
         {after_abort:?}; without their starter {late:?} after the lease was over"
    );
    assert!(after_abort < AT_MOST && silent < lease + AT_MOST);
}
