//! Whom a service asks before it answers.

use std::cell::Cell;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use squall_core::scenario;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::workload::{Client, Due, Failure, HttpClient, connect};

pub(super) struct Calls {
    others: Vec<Other>,
    tries: u32,
    timeout: Duration,
}

struct Other {
    client: HttpClient,
    addresses: Vec<SocketAddr>,
}

impl Calls {
    /// `spec` with its targets resolved; an error is in words for people.
    pub(super) fn new(spec: &scenario::Calls) -> Result<Calls, String> {
        let other = |target: &String| {
            let addresses = target.to_socket_addrs().map_err(|error| format!("can not resolve {target}: {error}"))?;
            Ok(Other { client: HttpClient::get(target)?, addresses: addresses.collect() })
        };
        let others = spec.targets.iter().map(other).collect::<Result<_, String>>()?;
        Ok(Calls { others, tries: spec.tries, timeout: Duration::from_nanos(spec.timeout) })
    }

    /// Asks one after the other until somebody answers.
    pub(super) async fn somebody_answers(&self) -> bool {
        for other in &self.others {
            for _ in 0..self.tries {
                if let Ok(Ok(())) = timeout(self.timeout, other.ask()).await {
                    return true;
                }
                // a refused connect fails without ever waiting
                yield_now().await;
            }
        }
        false
    }
}

impl Other {
    async fn ask(&self) -> Result<(), Failure> {
        let stream = connect(&self.addresses, &Cell::new(None)).await?;
        let mut connection = self.client.open(stream).await?;
        self.client.exchange(&mut connection, Due { number: 0, at: 0, request: 0 }).await
    }
}
