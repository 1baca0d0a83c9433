//! DNS messages (RFC 1035), as far as the fault has to do with them: what a response answers, and other responses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
pub(super) use simple_dns::RCODE as Rcode;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Packet, PacketFlag, QCLASS, ResourceRecord};

/// Length of a header.
const HEADER: usize = 12;
/// A resource record has at least its name's end, type, class, time to live and length; a question is shorter.
const LEAST_RECORD: usize = 11;

/// Where a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A datagram of its own.
    Datagram,
    /// In a stream, behind its length.
    Stream,
}

/// So many bytes have to be seen before anything can be said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Short(pub(super) usize);

/// It begins as a response does, and goes on as none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unread;

/// The message at the head of a stream; or how many bytes to let by, because they begin with no response to a query.
pub(super) fn framed(bytes: &[u8]) -> Result<Result<&[u8], usize>, Short> {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return Err(Short(2)) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length < HEADER {
        return Ok(Err(2 + length));
    }
    let Some(header) = rest.first_chunk::<HEADER>() else { return Err(Short(2 + HEADER)) };
    if !answers_one(header) {
        return Ok(Err(2 + length));
    }
    rest.get(..length).map(Ok).ok_or(Short(2 + length))
}

/// A message with its length before it; none: it is too long for one.
pub(super) fn frame(message: &[u8]) -> Option<Bytes> {
    let length = u16::try_from(message.len()).ok()?;
    Some([&length.to_be_bytes(), message].concat().into())
}

/// Whether a header is that of a response to a standard query with one question.
fn answers_one(header: &[u8; HEADER]) -> bool {
    header[2] & 0b1111_1000 == 0b1000_0000 && header[4..6] == [0, 1]
}

/// `answer`'s word.
pub(super) fn word(rcode: Rcode) -> &'static str {
    match rcode {
        Rcode::NameError => "nxdomain",
        Rcode::ServerFailure => "servfail",
        Rcode::Refused => "refused",
        _ => "empty",
    }
}

/// A response to one question.
pub(super) struct Response<'a> {
    packet: Packet<'a>,
    name: String,
}

impl<'a> Response<'a> {
    /// None: it is no such message.
    pub(super) fn read(message: &'a [u8]) -> Result<Option<Response<'a>>, Unread> {
        let Some(header) = message.first_chunk::<HEADER>().filter(|header| answers_one(header)) else {
            return Ok(None);
        };
        let records = header[6..].chunks(2).map(|count| usize::from(count[0]) << 8 | usize::from(count[1]));
        // the reader makes room for as many records as the header says
        if records.sum::<usize>() > (message.len() - HEADER) / LEAST_RECORD {
            return Err(Unread);
        }
        let packet = Packet::parse(message).map_err(|_| Unread)?;
        let name = packet.questions.first().ok_or(Unread)?.qname.to_string().to_ascii_lowercase();
        let name = if name.is_empty() { ".".to_owned() } else { name };
        Ok(Some(Response { packet, name }))
    }

    /// The name asked for, in small letters, without the last dot.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The type asked for.
    pub(super) fn question_type(&self) -> u16 {
        self.packet.questions.first().map_or(0, |question| question.qtype.into())
    }

    /// A response to the same question without any records.
    fn blank(&self, rcode: Rcode) -> Packet<'a> {
        let mut reply = Packet::new_reply(self.packet.id());
        for flag in [
            PacketFlag::AUTHORITATIVE_ANSWER,
            PacketFlag::RECURSION_DESIRED,
            PacketFlag::RECURSION_AVAILABLE,
            PacketFlag::CHECKING_DISABLED,
        ] {
            if self.packet.has_flags(flag) {
                reply.set_flags(flag);
            }
        }
        *reply.rcode_mut() = rcode;
        reply.questions.clone_from(&self.packet.questions);
        *reply.opt_mut() = self.packet.opt().cloned();
        reply
    }

    pub(super) fn reply(&self, rcode: Rcode) -> Option<Bytes> {
        written(&self.blank(rcode))
    }

    pub(super) fn truncated(&self) -> Option<Bytes> {
        let mut reply = self.blank(self.packet.rcode());
        reply.set_flags(PacketFlag::TRUNCATION);
        written(&reply)
    }

    /// None: no address is of the type asked for.
    pub(super) fn addressed(&self, addresses: &[IpAddr], ttl: u32) -> Option<Bytes> {
        let question = self.packet.questions.first().filter(|question| question.qclass == QCLASS::CLASS(CLASS::IN))?;
        let asked = self.question_type();
        let mut reply = self.blank(Rcode::NoError);
        let data = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) if asked == 1 => Some(RData::A((*v4).into())),
            IpAddr::V6(v6) if asked == 28 => Some(RData::AAAA((*v6).into())),
            _ => None,
        });
        reply.answers = data.map(|data| ResourceRecord::new(question.qname.clone(), CLASS::IN, ttl, data)).collect();
        if reply.answers.is_empty() { None } else { written(&reply) }
    }
}

fn written(reply: &Packet<'_>) -> Option<Bytes> {
    reply.build_bytes_vec_compressed().ok().map(Bytes::from)
}

/// The first answers that were seen, by question: name, type and class.
#[derive(Debug, Default)]
pub(super) struct Stale(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<(String, u16, u16), Bytes>,
    bytes: usize,
}

/// Answers that are kept.
const MOST_ANSWERS: usize = 1_000;
/// Their bytes in all.
const MOST_BYTES: usize = 1 << 20;

impl Stale {
    /// The answer kept for this question, as a response to it. None: there was none, and this one is kept, if it says
    /// anything and there is room; or it says the same.
    pub(super) fn answer(&self, response: &Response<'_>, message: &[u8]) -> Option<Bytes> {
        let question = response.packet.questions.first()?;
        let key = (response.name.clone(), response.question_type(), question.qclass.into());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = kept.answers.get(&key).cloned() else {
            let says = response.packet.rcode() == Rcode::NoError
                && !response.packet.answers.is_empty()
                && !response.packet.has_flags(PacketFlag::TRUNCATION);
            if says && kept.answers.len() < MOST_ANSWERS && kept.bytes + message.len() <= MOST_BYTES {
                kept.bytes += message.len();
                kept.answers.insert(key, Bytes::copy_from_slice(message));
            }
            return None;
        };
        drop(kept);
        let first = Packet::parse(&first).ok()?;
        let mut reply = response.blank(first.rcode());
        let same = first.answers.len() == response.packet.answers.len()
            && first.answers.iter().all(|one| response.packet.answers.iter().any(|other| one.rdata == other.rdata));
        if same && response.packet.rcode() == first.rcode() {
            return None;
        }
        reply.answers.clone_from(&first.answers);
        reply.name_servers.clone_from(&first.name_servers);
        reply.additional_records.clone_from(&first.additional_records);
        written(&reply)
    }
}
