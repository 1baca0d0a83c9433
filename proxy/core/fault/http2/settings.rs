//! What an HTTP/2 connection is told at its beginning.

use std::fmt;

/// Settings in the place of squall's own (RFC 9113, 6.5.2); none: its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub max_concurrent_streams: Option<u32>,
    /// SETTINGS_INITIAL_WINDOW_SIZE, up to 2^31 - 1 bytes.
    pub initial_window_size: Option<u32>,
    /// SETTINGS_MAX_FRAME_SIZE, 2^14 to 2^24 - 1 bytes.
    pub max_frame_size: Option<u32>,
    /// SETTINGS_HEADER_TABLE_SIZE, up to 2^16 bytes.
    pub header_table_size: Option<u32>,
    /// SETTINGS_MAX_HEADER_LIST_SIZE, bytes as RFC 9113, 10.5.1, counts them.
    pub max_header_list_size: Option<u32>,
}

impl Settings {
    /// Those that are there, as the language calls them.
    fn written(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let all = [
            ("max_concurrent_streams", self.max_concurrent_streams),
            ("initial_window_size", self.initial_window_size),
            ("max_frame_size", self.max_frame_size),
            ("header_table_size", self.header_table_size),
            ("max_header_list_size", self.max_header_list_size),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// The name of one that is there.
    pub(super) fn first(&self) -> Option<&'static str> {
        self.written().next().map(|(name, _)| name)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.written().map(|(name, value)| format!("{name} {value}")).collect();
        f.write_str(&all.join(", "))
    }
}
