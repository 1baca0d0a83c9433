//! From what was observed to what is written down.

use squall_core::http::Fields;
use squall_core::recording::{Body, Chunk, Content, Exchange};
use squall_core::redact::{REDACTED, Redaction};
use squall_core::tap::{Kept, Observed};
use squall_core::time::Time;

/// The body of a request is written down if it is no longer, bytes; else what tells it from others.
const SMALL: usize = 4096;
/// Fields that belong to a connection and not to the answer, or lead away from the double that plays it.
const LEFT_OUT: &[&str] =
    &["alt-svc", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// Whether secrets in an answer can't be seen.
pub(super) fn is_encoded(observed: &Observed) -> bool {
    let encoding = observed.response.fields.text("content-encoding").unwrap_or_default();
    !(encoding.is_empty() || encoding.eq_ignore_ascii_case("identity"))
}

/// An exchange without secrets; `start`: when the recording began.
pub(super) fn exchange(observed: &Observed, redaction: &Redaction, start: Time) -> Exchange {
    let request = &observed.request;
    let mut body = observed.body.bytes.clone();
    redaction.bytes(&mut body);
    Exchange {
        at: observed.at.saturating_sub(start),
        host: redaction.text(&request.authority),
        method: request.method.as_str().to_owned(),
        path: redaction.text(request.path()),
        query: request.query().map(|query| redaction.text(query)),
        request_fields: request_fields(&request.fields, redaction),
        body: asked(&observed.asked, redaction),
        status: observed.response.status.as_u16(),
        fields: fields(&observed.response.fields, redaction),
        first: observed.first,
        chunks: chunks(&body, &observed.pieces),
        trailers: observed.trailers.as_ref().map(|trailers| fields(trailers, redaction)).unwrap_or_default(),
        ended: observed.ended,
    }
}

/// What a service that plays it is asked for with is compared with this.
fn asked(kept: &Kept, redaction: &Redaction) -> Body {
    let mut bytes = kept.bytes.clone();
    // whoever plays it knows no patterns but squall's own
    let comparable = !redaction.bytes(&mut bytes) && kept.is_whole();
    match kept.size {
        0 => Body::None,
        size if !comparable => Body::Size(size),
        _ if bytes.len() <= SMALL => Body::Kept(bytes.into()),
        _ => Body::digest(&bytes),
    }
}

/// Of a request only what may be kept: nobody plays it.
fn request_fields(fields: &Fields, redaction: &Redaction) -> Vec<(String, String)> {
    let kept = fields.iter().filter_map(|(name, value)| {
        let (name, value) = (text(name), text(value));
        let value = redaction.field(&name, &value)?;
        Some((name, value))
    });
    kept.filter(|(name, _)| !name.eq_ignore_ascii_case("set-cookie")).collect()
}

/// All fields of an answer by their names.
fn fields(fields: &Fields, redaction: &Redaction) -> Vec<(String, String)> {
    let is_of_answer = |name: &str| !LEFT_OUT.iter().any(|other| name.eq_ignore_ascii_case(other));
    let all = fields.iter().map(|(name, value)| (text(name), text(value)));
    let all = all.filter(|(name, _)| is_of_answer(name)).map(|(name, value)| {
        let value = redaction.field(&name, &value).unwrap_or_else(|| REDACTED.to_owned());
        (name, value)
    });
    all.collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The kept bytes of a body in the pieces in which they came.
fn chunks(mut kept: &[u8], pieces: &[(Time, u64)]) -> Vec<Chunk> {
    let mut chunks = Vec::with_capacity(pieces.len());
    for (after, size) in pieces {
        let (own, rest) = kept.split_at(usize::try_from(*size).unwrap_or(usize::MAX).min(kept.len()));
        kept = rest;
        let left = size - own.len() as u64;
        if !own.is_empty() {
            chunks.push(Chunk { after: *after, content: Content::Bytes(own.to_vec().into()) });
        }
        if left > 0 {
            let after = if own.is_empty() { *after } else { 0 };
            chunks.push(Chunk { after, content: Content::Size(left) });
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_bytes_and_sizes() {
        let bytes = |after, text: &'static str| Chunk { after, content: Content::Bytes(text.into()) };
        let size = |after, size| Chunk { after, content: Content::Size(size) };
        assert_eq!(chunks(b"abcdef", &[(1, 2), (2, 4)]), [bytes(1, "ab"), bytes(2, "cdef")]);
        assert_eq!(chunks(b"abc", &[(1, 2), (2, 4), (3, 5)]), [bytes(1, "ab"), bytes(2, "c"), size(0, 3), size(3, 5)]);
        assert_eq!(chunks(b"", &[]), []);
    }
}
