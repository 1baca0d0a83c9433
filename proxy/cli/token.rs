//! `squall token make|list|revoke|rotate`: works on the file; a running squall reads it anew by itself.

use std::path::PathBuf;
use std::time::Duration;

use squall_control::tokens::{self, Secret, Token, TokenFile, Wanted};
use squall_core::time::Clock;
use squall_core::unit;
use squall_core::who::Role;
use squall_wire::SystemClock;

use super::out::{say, table, tell};
use super::status::pretty;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// The token file: `tokens` in [control] of squall.toml
    #[arg(long, value_name = "FILE", default_value = "tokens.toml", global = true)]
    file: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a token; it is printed on standard output, once
    Make(Make),
    /// Tokens with their owners, roles and ends, without their secrets
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a token back: refused from now on
    Revoke {
        /// Its id, or the name of its owner for all of theirs
        #[arg(value_name = "ID|NAME")]
        who: String,
    },
    /// Put a new token in the place of an old one; it is printed on standard output, once
    Rotate {
        /// Its id, or the name of its owner if they have one
        #[arg(value_name = "ID|NAME")]
        who: String,
        /// How long the new one holds, as in 30d; else as long as the old one was made for
        #[arg(long, value_name = "DURATION")]
        expires: Option<unit::Duration>,
        /// How long the old one still holds, as in 1h; else it is revoked at once
        #[arg(long, value_name = "DURATION")]
        overlap: Option<unit::Duration>,
    },
}

#[derive(Debug, clap::Args)]
struct Make {
    /// What it lets its owner do: viewer, aborter, operator, approver, admin. Everybody who is known may abort
    #[arg(long)]
    role: Role,
    /// Whose it is: a person or a program; tokens of one name are one person to approvals
    #[arg(long)]
    name: String,
    /// How long it holds, as in 30d
    #[arg(long, value_name = "DURATION")]
    expires: unit::Duration,
    /// A group for approvals by group; any number of times
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// The experiments that it is about, by name, `*` for any characters; any number of times. Else all, and all else
    #[arg(long, value_name = "NAME")]
    scope: Vec<String>,
}

pub(crate) fn run(args: Args) -> Outcome {
    let (file, now) = (args.file, SystemClock.wall());
    match args.what {
        What::Make(Make { role, name, expires, group, scope }) => {
            let wanted = Wanted { name, role, groups: group, scope, lasts: length(expires) };
            show(tokens::change(&file, |tokens| tokens.make(wanted, now)).map_err(Failure::input)?);
        }
        What::Rotate { who, expires, overlap } => {
            let (lasts, overlap) = (expires.map(length), overlap.map(length).unwrap_or_default());
            let rotate = tokens::change(&file, |tokens| tokens.rotate(&who, lasts, overlap, now));
            show(rotate.map_err(Failure::input)?);
        }
        What::Revoke { who } => {
            let revoked = tokens::change(&file, |tokens| tokens.revoke(&who, now)).map_err(Failure::input)?;
            for token in revoked {
                say!("revoked {} of {} ({})", token.id, token.name, token.role);
            }
        }
        What::List { json } => {
            let tokens = TokenFile::open(&file).map_err(Failure::input)?.tokens();
            if json {
                say!("{}", pretty(&tokens.all)?);
                return Ok(Exit::Done);
            }
            let mut rows =
                vec![["ID", "NAME", "ROLE", "GROUPS", "SCOPE", "EXPIRES", "HOLDS"].map(str::to_owned).to_vec()];
            rows.extend(tokens.all.iter().map(|token| row(token, token.holds(now).is_ok())));
            table(&rows);
        }
    }
    Ok(Exit::Done)
}

/// The secret alone on standard output, so that it can go into a file; the rest beside it.
fn show((token, secret): (Token, Secret)) {
    tell!("token {} of {} ({}) holds until {}; it is shown this once", token.id, token.name, token.role, token.expires);
    say!("{}", secret.text());
}

fn row(token: &Token, holds: bool) -> Vec<String> {
    let list = |list: &[String], none: &str| if list.is_empty() { none.to_owned() } else { list.join(",") };
    let holds = match (&token.revoked, holds) {
        (Some(_), _) => "revoked",
        (None, true) => "yes",
        (None, false) => "expired",
    };
    vec![
        token.id.clone(),
        token.name.clone(),
        token.role.to_string(),
        list(&token.groups, "-"),
        list(&token.scope, "all"),
        token.expires.clone(),
        holds.into(),
    ]
}

fn length(duration: unit::Duration) -> Duration {
    Duration::from_nanos(duration.0)
}
