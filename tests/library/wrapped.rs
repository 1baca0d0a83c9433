//! The library where it is meant to be used: under `squall wrap`, which opens the hosts by their own names.

use std::process::Stdio;

use super::stand_ins::{models, openai_words};
use crate::support::{Room, Running};

/// A shell in which the hosts are a stand-in's, and which runs what it is told.
struct Wrapped {
    room: Room,
    shell: Running,
    control: String,
}

impl Wrapped {
    fn hosts(hosts: &[&str]) -> Wrapped {
        let (room, api) = (Room::new(), models());
        let mut command = room.command(&["wrap", "--state"]);
        command.arg(room.path("project"));
        command.args(hosts.iter().flat_map(|host| ["--map".to_owned(), format!("{host}={}", api.address)]));
        command.args(["--", "sh", "-c", "while read -r line; do eval \"$line\"; echo; echo done; done"]);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "CURL_CA_BUNDLE"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        let shell = Running::start(command.stdin(Stdio::piped()));
        let said = shell.wait_for("squall: proxy ");
        let control = said.split_once("control ").unwrap().1.trim().to_owned();
        Wrapped { room, shell, control }
    }

    #[track_caller]
    fn play(&self, scenario: &str, set: &[&str]) {
        let mut words = vec!["start", scenario, "--detach", "--max", "60s", "--control", &self.control];
        set.iter().for_each(|set| words.extend(["--set", set]));
        self.room.squall(&words).exits(0);
    }

    /// What the shell prints for this line.
    #[track_caller]
    fn does(&mut self, line: &str) -> String {
        let before = self.shell.printed().len();
        self.shell.say(line);
        crate::support::wait::until(line, || {
            let printed = self.shell.printed();
            let new = printed.get(before..)?.trim_start_matches('\n');
            new.strip_suffix("done").map(str::to_owned)
        })
    }
}

#[test]
fn hosts_fail_under_their_own_names() {
    let mut wrapped =
        Wrapped::hosts(&["api.stripe.com", "api.openai.com", "api.anthropic.com", "s3.us-east-1.amazonaws.com"]);
    for scenario in ["stripe/lock-timeout", "openai/stream-ends-early", "anthropic/overloaded", "aws/s3-slow-down"] {
        wrapped.play(scenario, &["rate=100%"]);
    }
    let curl = "curl --silent --include --http1.1 --max-time 20";
    let stripe = wrapped.does(&format!("{curl} -d amount=1 https://api.stripe.com/v1/charges"));
    assert!(stripe.contains(" 429 ") && stripe.to_lowercase().contains("stripe-should-retry: true"), "{stripe}");
    assert!(stripe.contains(r#""code":"lock_timeout""#), "{stripe}");
    let openai = wrapped.does(&format!("{curl} --data '{{}}' https://api.openai.com/v1/chat/completions"));
    let events: Vec<_> = openai.lines().filter(|line| line.starts_with("data: ")).collect();
    let expected = openai_words()[..3].concat();
    assert_eq!(events, expected.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>(), "{openai}");
    let anthropic = wrapped.does(&format!("{curl} --data '{{}}' https://api.anthropic.com/v1/messages"));
    assert!(anthropic.contains(" 529") && anthropic.contains(r#""type":"overloaded_error""#), "{anthropic}");
    let s3 = wrapped.does(&format!("{curl} https://s3.us-east-1.amazonaws.com/bucket/key"));
    assert!(s3.contains(" 503 ") && s3.contains("<Code>SlowDown</Code>"), "{s3}");
}
