//! Files of the repository that are derived from others.

use std::fs;

use crate::support::Room;

/// A text file of the repository.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn shipped_scenarios_are_the_golden_ones_with_a_schema() {
    for (shipped, golden) in [
        ("first-drill", "first-drill"),
        ("redis-slow", "redis-slow"),
        ("checkout-brownout", "checkout-brownout"),
        ("stripe/rate-limit", "library-example"),
    ] {
        let text = read(&format!("scenarios/{shipped}.toml"));
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with("#:schema "), "{shipped} names no schema");
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
