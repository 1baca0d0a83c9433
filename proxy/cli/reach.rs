//! How a command finds the squall that it speaks to, and what a failed call means for the exit code.

use std::path::PathBuf;

use squall_control::client::{Client, ClientError, Files};
use squall_control::tokens::Secret;

use crate::exit::{Exit, Failure};

/// Which running squall.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Reach {
    /// Control port of the running squall: `http://host:port` or `unix:PATH`. Else SQUALL_CONTROL, else the latest one
    /// of this user. `start`, `abort`, `status` and `report` take several
    #[arg(long, value_name = "URL", global = true)]
    control: Vec<String>,
    /// A file with the token to show. Else the one in SQUALL_TOKEN, else none
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Who vouches for a control port with https, PEM. Else SQUALL_CA
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// The certificate to show to a control port with https, PEM. Else SQUALL_CERT
    #[arg(long, value_name = "FILE", global = true, requires = "key")]
    cert: Option<PathBuf>,
    /// Its key, PEM. Else SQUALL_KEY
    #[arg(long, value_name = "FILE", global = true, requires = "cert")]
    key: Option<PathBuf>,
}

impl Reach {
    /// The only one that was named.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        match self.control.as_slice() {
            [] | [_] => self.find(self.control.first().map(String::as_str)),
            several => Err(Failure::input(format!("this takes one --control, not {}", several.len()))),
        }
    }

    /// All that were named, or the one that is found.
    pub(crate) fn clients(&self) -> Result<Vec<Client>, Failure> {
        match self.control.as_slice() {
            [] => Ok(vec![self.find(None)?]),
            named => named.iter().map(|control| self.find(Some(control))).collect(),
        }
    }

    fn find(&self, control: Option<&str>) -> Result<Client, Failure> {
        let (given, named) = (self.clone(), Files::named());
        let tls = Files { ca: given.ca.or(named.ca), cert: given.cert.or(named.cert), key: given.key.or(named.key) };
        let client = Client::find(control)?.tls(tls);
        let Some(file) = &self.token_file else { return Ok(client) };
        let wrong = |why: &str| Failure::input(format!("{}: {why}", file.display()));
        let token = std::fs::read_to_string(file).map_err(|error| wrong(&error.to_string()))?;
        let token: Secret = token.trim().parse().map_err(|why: String| wrong(&why))?;
        Ok(client.token(token.text()))
    }

    /// Whether a control port was named on the command line.
    pub(crate) fn is_given(&self) -> bool {
        !self.control.is_empty()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let exit = if error.is_out_of_reach() { Exit::OutOfReach } else { Exit::BadInput };
        let mut message = error.to_string();
        if let ClientError::Refused(problem) = &error {
            for mistake in &problem.errors {
                let place = match (mistake.line, mistake.column) {
                    (Some(line), Some(column)) => format!("{line}:{column}: "),
                    _ => String::new(),
                };
                message.push_str(&format!("\n  {place}{}", mistake.message));
                for more in [&mistake.expected, &mistake.help].into_iter().flatten() {
                    message.push_str(&format!("\n    {more}"));
                }
            }
        }
        Failure { exit, message }
    }
}
