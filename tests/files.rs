//! Files of the repository that are derived from others.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use squall_core::fault::registry;
use squall_core::preset;

use crate::support::programs::{installed, run};
use crate::support::{Room, turn};

/// A text file of the repository.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn shipped_scenarios_are_the_golden_ones_with_a_schema_and_with_what_is_expected() {
    for (shipped, golden) in [
        ("first-drill", "first-drill"),
        ("redis-slow", "redis-slow"),
        ("checkout-brownout", "checkout-brownout"),
        ("stripe/rate-limit", "library-example"),
    ] {
        let text = read(&format!("scenarios/{shipped}.toml"));
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with("#:schema "), "{shipped} names no schema");
        let rest: String = rest.split_inclusive('\n').filter(|line| !line.starts_with("expected ")).collect();
        assert_eq!(rest, read(&format!("tests/golden/{golden}.toml")), "{shipped}");
    }
}

#[test]
fn golden_files_pass_the_check() {
    let room = Room::new();
    for name in ["first-drill", "redis-slow", "library-example", "squall"] {
        room.squall(&["check", &format!("tests/golden/{name}.toml")]).exits(0);
    }
    room.squall(&["check", "tests/golden/checkout-brownout.toml", "tests/golden/squall.toml"]).exits(0);
}

/// Holds a file against what squall prints; with `UPDATE=1` writes it.
#[track_caller]
fn is_up_to_date(path: &str, printed: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, printed).unwrap();
    }
    assert!(read(path) == printed, "{path} is out of date: UPDATE=1 cargo test --test integration files");
}

#[test]
fn schemas_are_up_to_date() {
    let room = Room::new();
    is_up_to_date("scenarios/schema.json", &room.squall(&["schema", "scenario"]).exits(0).out);
    is_up_to_date("docs/config.schema.json", &room.squall(&["schema", "config"]).exits(0).out);
}

#[test]
fn the_reference_of_the_command_line_is_up_to_date() {
    let mut text =
        String::from("# The command line\n\nFrom `--help`; exit codes are in [exit-codes.md](exit-codes.md).\n");
    let mut root = squall::cli::Cli::definition().term_width(100).disable_help_subcommand(true);
    root.build();
    for command in root.get_subcommands_mut() {
        section(command, "squall", &mut text);
    }
    is_up_to_date("docs/cli.md", &text);
}

fn section(command: &mut clap::Command, before: &str, text: &mut String) {
    let name = format!("{before} {}", command.get_name());
    let mut own = command.clone().term_width(100);
    let help: Vec<String> = own.render_long_help().to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    text.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
    for inner in command.get_subcommands_mut() {
        section(inner, &name, text);
    }
}

#[test]
fn the_reference_of_faults_is_up_to_date() {
    let schema: Value = serde_json::from_str(&read("scenarios/schema.json")).unwrap();
    let of = |kind: &str| {
        let kinds = schema["properties"]["fault"]["items"]["oneOf"].as_array().unwrap();
        let found = kinds.iter().find(|one| one["properties"]["kind"]["const"] == kind);
        found.unwrap_or_else(|| panic!("{kind} is not in the schema"))["properties"].as_object().unwrap()
    };
    let names = |kind: &registry::Entry| of(kind.name).keys().cloned().collect::<BTreeSet<String>>();
    let common = registry::KINDS.iter().map(names).reduce(|some, more| &some & &more).unwrap();
    let list = |kind: &registry::Entry, names: BTreeSet<String>| {
        let about = |name: &String| of(kind.name)[name]["description"].as_str().unwrap_or_default().replace('\n', " ");
        names.iter().map(|name| format!("- `{name}`: {}\n", about(name))).collect::<String>()
    };

    let mut text = String::from(
        "# Faults\n\nFrom the binary: `squall faults KIND` says the same. The unit is the connection, on UDP all datagrams of one client, on HTTP \
         the exchange: a request and its answer. A fault acts on exchanges in one phase: `before_connect` and `before_upstream` (the upstream never hears of the request, unless \
         it goes on), `after_upstream_head` (before the client hears), `mid_body` (on the body of the answer, or of the request with `direction = \"upstream\"`, without its framing), \
         `after_upstream` (the upstream has acted). With `layer = \"bytes\"` it acts on the connections beneath.\n\n## In every fault\n\n",
    );
    text.push_str(&list(&registry::KINDS[0], &common - &BTreeSet::from(["kind".to_owned()])));
    for kind in registry::KINDS {
        let (whom, effect) = (kind.whom_words(), kind.effect_words());
        let (name, about, example) = (kind.name, kind.about, kind.example.trim());
        let serves = kind.serves_words();
        let phases = kind.phases_words().map(|phases| format!(" {phases}.")).unwrap_or_default();
        text.push_str(&format!("\n## {name}\n\n{about}. For {serves}. {whom}. It {effect}.{phases}\n\n"));
        text.push_str(&list(kind, &names(kind) - &common));
        text.push_str(&format!("\n```toml\n{example}\n```\n"));
    }
    text.push_str(&presets());
    is_up_to_date("docs/faults.md", &text);
}

/// The links by name, and the round trips between AWS regions.
fn presets() -> String {
    let mut text = String::from(
        "\n## Presets\n\nIn place of `kind` stands `preset`: a link by name. It is several faults, named after it (`slow-3g-latency-up`, \
         `slow-3g-bandwidth-down`), which share the fields that every fault has and select the same connections, as long as \
         they count alike: connections that arrive at the same moment may be counted in another order by `first`, `nth` and `each`. \
         With `direction` only that direction's are made. Each connection has the link for itself, and each of its faults counts against `max_active_faults`. A round trip is split half to each \
         direction; where it has a spread, each time within it is as likely. `min_hits` is held against the \
         latency, which every byte passes, not against the others: a few percent of little traffic may rightly lose nothing.\n\n```toml\n[[fault]]\npreset = \"slow-3g\"\nproxy  = \
         \"redis\"\nfor    = \"30s\"\n```\n\n| preset | link | source | as of |\n|---|---|---|---|\n",
    );
    for (name, link) in preset::listed() {
        text.push_str(&format!("| `{name}` | {} | {} | {} |\n", link.about(), link.source, link.as_of));
    }
    let matrix = preset::find("aws:us-east-1/us-west-2").unwrap();
    text.push_str(&format!(
        "\n`aws:REGION/REGION`, the regions in either order, is the median round trip between them in ms (source: {}; {}):\n\n|",
        matrix.source, matrix.as_of
    ));
    let columns = &preset::AWS_REGIONS[1..];
    columns.iter().for_each(|region| text.push_str(&format!(" | {region}")));
    text.push_str(&format!(" |\n|---{}|\n", "|---".repeat(columns.len())));
    for (row, times) in preset::AWS_ROUND_TRIPS.iter().enumerate() {
        text.push_str(&format!("| {} |{}", preset::AWS_REGIONS[row], " |".repeat(row)));
        times.iter().for_each(|ms| text.push_str(&format!(" {ms} |")));
        text.push('\n');
    }
    text
}

#[test]
fn the_reference_of_scenarios_is_up_to_date() {
    let mut text = String::from(SCENARIOS);
    for shipped in squall::library::all().filter(|shipped| !is_of_the_library(shipped)) {
        let lesson: Vec<String> = ["title", "teaches"].into_iter().filter_map(|name| cell(&shipped, name)).collect();
        let (path, lesson, source) = (shipped.path, lesson.join(". "), cell(&shipped, "source"));
        let source = source.unwrap_or_else(|| "–".into());
        text.push_str(&format!("| [{path}](../scenarios/{path}.toml) | {lesson} | {source} |\n"));
    }
    is_up_to_date("docs/scenarios.md", &text);
}

#[test]
fn the_index_of_the_library_is_up_to_date() {
    let mut text = String::from(LIBRARY);
    let mut folder = "";
    for shipped in squall::library::all().filter(is_of_the_library) {
        let (of, name) = shipped.path.split_once('/').unwrap();
        if folder != of {
            text.push_str(&format!(
                "\n## {of}\n\n| scenario | what it teaches | expected of a good client | source |\n|---|---|---|---|\n"
            ));
            folder = of;
        }
        let of = |field| cell(&shipped, field).unwrap_or_else(|| "–".into());
        let (path, title, teaches) = (shipped.path, of("title"), of("teaches"));
        let verified = shipped.text.lines().find_map(|line| line.strip_prefix("verified_on")?.split_once("= "));
        let verified = verified.map(|(_, on)| format!("; {on}")).unwrap_or_default();
        let (expected, source) = (of("expected"), of("source"));
        text.push_str(&format!(
            "| [{name}](../scenarios/{path}.toml) | {title}. {teaches} | {expected} | {source}{verified} |\n"
        ));
    }
    is_up_to_date("docs/library.md", &text);
}

/// Whether it fails as some service or link does; drills and outages bring everything they need.
fn is_of_the_library(shipped: &squall::library::Shipped) -> bool {
    shipped.path.contains('/') && !shipped.path.starts_with("outages/")
}

/// A field as a table has it.
fn cell(shipped: &squall::library::Shipped, field: &str) -> Option<String> {
    shipped.field(field).map(|text| text.replace('|', "\\|"))
}

const LIBRARY: &str = "\
# The library

How well-known services fail, in their own words: exact status, headers and body, because that is what a client's code for
retries reads. A client that was tested against a bare 503 has not been tested: of the same four attempts boto3 makes those against
DynamoDB's real throttle (a 400) over seconds, and those against a 503 within a fraction of one.

```sh
squall scenarios \"rate limit\"                     # those that mention it
squall scenarios stripe/lock-timeout                # what clients will be answered, before anything runs
squall scenarios --show stripe/lock-timeout > mine.toml
squall wrap -- CMD                                  # then, to its control port:
squall start stripe/lock-timeout --set rate=100%
```

- `proxy = \"host:api.stripe.com\"` is the proxy that `squall wrap` opens for the host. Where the host is a parameter (a region, an
  account, a shop, a server of your own), it is opened with `--only HOST`, and named with `--set`.
- Before a proxy of your own (`protocol = \"http\"`): put its name in the place of `host:NAME` in a copy of the file.
- `verified_on` stands where status, headers and body were held against the source on that day; what differs between calls
  (ids, names, figures) is made up.
- What stands under `network` and the databases brings its own stand-in, proxy and load: `squall drill network/edge`. The databases turn
  everybody away where you let them listen: `squall drill postgresql/too-many-clients`.
- Each of them is played by a test before a stand-in, to the byte; SDKs and common clients meet many of them (`tests/library`).
- Errors that a database gives to a single statement (40001, `-READONLY` …) are not among them: faults do not speak these protocols yet.
";

const SCENARIOS: &str = "\
# Scenarios

What squall brings: `squall scenarios WORD` lists those that mention a word, `squall scenarios --show NAME` prints one, and its
name stands for its file: `squall drill outages/retry-storm`.

## Running an outage

An outage brings everything that it needs: stand-in services, a proxy before them, load. So it shows at once what it is about,
and some are refuted as they stand, because that is what they teach; their first lines say which parameter changes it.

- **Times, rates and shares** are parameters: `--set at=2s --set outage=5s`. `squall scenarios --show` has them with what they mean.
- **Your own service** comes behind the proxy with `--set upstream=127.0.0.1:8080`. The load is then sent to it: requests for `/`,
  or what `--set workload.clients.path=/orders` says. For another protocol, say what is sent and what must come back:
  `--set workload.clients.kind=tcp --set workload.clients.send=$'PING\\r\\n' --set workload.clients.expect=$'+PONG\\r\\n'`.
- **Your own clients** reach the proxy where you let it listen: `--set listen=127.0.0.1:18080`.
- Anything beyond that is an edit: `squall scenarios --show outages/partition > mine.toml`.

How well-known services and links fail is in [the library](library.md).

## Stand-in services

`kind = \"http\"` answers every request after the latency that `answers` says. Three things make it break as real services do:

- `capacity = 3`: no more than three requests are served at a moment. `queue = 512` more wait, in order; what comes beyond is
  answered 503 at once. What has been taken in is done to its end, though the client may have gone.
- `calls = [\"proxy:cache\", \"proxy:orders\"]`: before it answers it asks others (`GET /`, a connection each), until one answers below
  500; `tries` and `timeout` are those of each call. If nobody answers, it says 502. A call takes its place of the capacity.
- The report says what came to each service: connections, requests, and how many were turned away.

`kind = \"recording\"` answers as a real service was seen to: [recordings.md](recordings.md).

## All of them

| scenario | what it teaches | source |
|---|---|---|
";

/// Blocks that are a configuration stand beside every other one; parts of a scenario get a fault and a proxy.
#[test]
fn every_block_of_the_page_on_drills_passes_the_check() {
    let page = read("docs/drills.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let (own, parts): (Vec<&str>, Vec<&str>) =
        blocks.into_iter().partition(|block| block.starts_with("[safety]") || block.starts_with("[[request]]"));
    assert!(!parts.is_empty());
    let room = Room::new();
    let config = room.file("squall.toml", "environment = \"local\"\n");
    for block in own {
        let name = if block.starts_with("[safety]") { "squall.toml" } else { "shop.requests.toml" };
        room.file(name, block);
    }
    let frame = "name = \"framed\"\nmax_duration = \"2m\"\n[[proxy]]\nname = \"shop\"\nlisten = \"127.0.0.1:0\"\n\
                 upstream = \"127.0.0.1:8081\"\n[[fault]]\nkind = \"latency\"\nproxy = \"shop\"\ndelay = \"1ms\"\nfor = \"1m\"\n";
    for part in parts {
        let scenario = room.file("scenario.toml", &format!("{frame}{part}"));
        room.squall(&["check", &scenario, &config]).exits(0);
    }
}

#[test]
fn the_example_of_a_test_passes() {
    let mut example = Command::new(installed("python3"));
    example.arg("examples/retry_test.py").env("SQUALL", env!("CARGO_BIN_EXE_squall"));
    run(example.current_dir(env!("CARGO_MANIFEST_DIR")));
}

/// Every command of the example for CI, in order, as its runner would run it; installing left out.
#[test]
fn the_example_for_ci_passes() {
    let _turn = turn();
    let room = Room::new();
    let text = read("examples/ci/drills.yml");
    let commands: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("run: ")).collect();
    assert!(commands.len() >= 4 && commands[0].starts_with("cargo install"), "{commands:?}");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_squall")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(binary.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    std::os::unix::fs::symlink(std::path::absolute("examples").unwrap(), room.path("examples")).unwrap();
    let summary = room.path("summary.md");
    for command in &commands[1..] {
        let mut shell = Command::new("sh");
        shell.args(["-euc", command]).current_dir(room.directory()).env("XDG_RUNTIME_DIR", room.directory());
        run(shell.env("PATH", path.as_ref().unwrap()).env("GITHUB_STEP_SUMMARY", &summary));
    }
    assert!(fs::read_to_string(summary).unwrap().contains("upheld"));
    assert!(room.path("drill-report/report.json").is_file());
}

/// The picture is drawn from what squall prints; what differs between two runs are numbers.
#[test]
fn the_picture_of_the_first_run_shows_what_happens() {
    let mut python = Command::new(installed("python3"));
    let drawn = run(python.args(["docs/first-run.py", env!("CARGO_BIN_EXE_squall")]));
    if std::env::var_os("UPDATE").is_some() {
        fs::write("docs/first-run.svg", &drawn).unwrap();
    }
    let words = |picture: &str| {
        let rows = picture.lines().filter(|line| line.starts_with("<text")).filter_map(|line| line.split_once('>'));
        let words: Vec<String> = rows.flat_map(|(_, row)| row.split_whitespace().map(str::to_owned)).collect();
        let is_same_in_every_run =
            |word: &String| !word.contains(|c: char| c.is_ascii_digit()) && !word.ends_with("s</text>");
        words
            .into_iter()
            .filter(|word| is_same_in_every_run(word) && !["us", "ms", "s"].contains(&&**word))
            .collect::<Vec<_>>()
    };
    let (shown, happens) = (words(&read("docs/first-run.svg")), words(&drawn));
    assert!(shown.len() > 60 && shown.iter().any(|word| word == "surfaced"), "{shown:?}");
    assert_eq!(shown, happens, "docs/first-run.svg: UPDATE=1 cargo test --test integration picture");
}
