//! Printing. A reader that has gone (`squall faults | head`) is no reason to fail.

use std::fmt::Arguments;
use std::io::Write;

/// One line on standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::out::line(format_args!($($text)*)) };
}

/// One line on standard error.
macro_rules! tell {
    ($($text:tt)*) => { $crate::cli::out::error_line(format_args!($($text)*)) };
}

pub(crate) use {say, tell};

pub(crate) fn line(text: Arguments<'_>) {
    let _ = writeln!(anstream::stdout().lock(), "{text}");
}

pub(crate) fn error_line(text: Arguments<'_>) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Text as it is, on standard output.
pub(crate) fn raw(text: &[u8]) {
    let _ = std::io::stdout().lock().write_all(text);
}

/// Rows in columns, two spaces apart; the first row is the head.
pub(crate) fn table(rows: &[Vec<String>]) {
    columns(rows, |row| say!("{row}"));
}

/// The same on standard error.
pub(crate) fn tell_table(rows: &[Vec<String>]) {
    columns(rows, |row| tell!("{row}"));
}

fn columns(rows: &[Vec<String>], put: impl Fn(&str)) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        put(cells.join("  ").trim_end());
    }
}
