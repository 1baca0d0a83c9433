//! The control port: the native API, its client, health and metrics.
