//! An HTTP endpoint: each record is one `POST` with the line as its body, kept once it is answered with 2xx.

use std::io;
use std::time::Duration;

use squall_core::limits::Limits;
use tokio::runtime::Runtime;

use super::sink::Sink;
use super::verify::Read;
use crate::probe;

/// How long an answer may take: less than a start waits for its record.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Endpoint {
    url: String,
    limits: Limits,
    runtime: Runtime,
    begun: bool,
}

impl Endpoint {
    pub(super) fn new(url: String, limits: Limits) -> io::Result<Endpoint> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Endpoint { url, limits, runtime, begun: false })
    }
}

impl Sink for Endpoint {
    /// A chain of its own for each process.
    fn ready(&mut self) -> Result<Option<Read>, String> {
        Ok((!std::mem::replace(&mut self.begun, true)).then(Read::default))
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let post = probe::post(&self.url, &[("content-type", "text/plain")], line, PATIENCE, &self.limits);
        self.runtime.block_on(post).map_err(io::Error::other)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn name(&self) -> String {
        self.url.clone()
    }
}
