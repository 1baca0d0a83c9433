//! Where messages end within a body: for faults that act on the nth of them. The parsers keep a few bytes of state, take any
//! split of the bytes, and make something of any bytes.

pub(super) mod grpc;
pub(super) mod sse;
pub(super) mod websocket;
