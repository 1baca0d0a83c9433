//! An alert that ends a handshake before it has begun.

/// A record with a fatal alert, as a server sends it in place of its ServerHello (RFC 8446, 5.1 and 6).
pub(crate) fn alert(description: u8) -> [u8; 7] {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    [ALERT, 3, 3, 0, 2, FATAL, description]
}
