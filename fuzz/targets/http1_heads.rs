//! Heads of HTTP/1: read in whatever pieces they come they are the same, and what was understood is read again as the same
//! once it is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use squall_core::http::{Method, Request, Response};
use wire::h1::{Framing, Limits, Passing, Refusal, Scan, Taken, request, response, write_request, write_response};

/// The codec is nobody's business outside of its crate: it is built into this one.
#[path = "../../proxy/wire/http"]
#[allow(dead_code, unused_imports)]
mod wire {
    pub(crate) mod h1;
}

type Read<T> = Result<Option<(Taken, T)>, Refusal>;

fn read_request(bytes: &[u8], ends: &[usize]) -> Read<Request> {
    let (mut scan, mut into) = (Scan::default(), Request::default());
    for end in ends {
        if let Some(taken) = request(&bytes[..*end], &mut scan, &Limits::default(), &mut into)? {
            return Ok(Some((taken, into)));
        }
    }
    Ok(None)
}

fn read_response(bytes: &[u8], ends: &[usize], to: &Method) -> Read<Response> {
    let (mut scan, mut into) = (Scan::default(), Response::default());
    for end in ends {
        if let Some(taken) = response(&bytes[..*end], &mut scan, &Limits::default(), to, &mut into)? {
            return Ok(Some((taken, into)));
        }
    }
    Ok(None)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((at, bytes)) = bytes.split_first() else { return };
    // the first byte says where the pieces end
    let (step, all) = (usize::from(*at).max(1), bytes.len());
    let ends: Vec<usize> = (step..all).step_by(step).chain([all]).collect();

    let whole = read_request(bytes, &[all]);
    assert_eq!(whole, read_request(bytes, &ends), "in pieces of {step}");
    if let Ok(Some((taken, head))) = whole {
        assert!(taken.used <= all);
        let mut written = Vec::new();
        let how = Passing { upgrade: taken.upgrade, ..Passing::default() };
        write_request(&head, taken.framing, &how, &mut written);
        let (again, second) = read_request(&written, &[written.len()]).unwrap().expect("it was written whole");
        assert_eq!((again.used, again.framing), (written.len(), taken.framing), "{head:?}");
        assert_eq!((&second.method, &second.authority), (&head.method, &head.authority));
        assert_eq!(second.target.as_str(), if head.target.is_empty() && head.method != Method::CONNECT { "/" } else { &head.target });
    }
    for to in [Method::GET, Method::HEAD, Method::CONNECT] {
        let whole = read_response(bytes, &[all], &to);
        assert_eq!(whole, read_response(bytes, &ends, &to), "in pieces of {step}");
        if let Ok(Some((taken, head))) = whole {
            let mut written = Vec::new();
            let how = Passing { upgrade: taken.upgrade, ..Passing::default() };
            write_response(&head, taken.framing, &how, &mut written);
            let (again, second) = read_response(&written, &[written.len()], &to).unwrap().expect("it was written whole");
            assert_eq!((again.used, second.status), (written.len(), head.status), "{head:?}");
            let same = again.framing == taken.framing || matches!(taken.framing, Framing::None);
            assert!(same, "{:?} became {:?}", taken.framing, again.framing);
        }
    }
});
