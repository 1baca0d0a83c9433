//! Texts with places for what a request says: `{{path}}`.

use bytes::Bytes;

use crate::http::{Request, is_field_name};
use crate::parse::nearest;

/// A text, taken apart once. A place is `{{WORD}}`; what is in double braces and holds anything but letters, digits, `-`,
/// `_` and `:` is text like any other, as JSON may have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Bytes),
    Place(Place),
}

/// What stands in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Method,
    /// Without the query.
    Path,
    Host,
    Number,
    /// The first field of that name; nothing, where there is none.
    Header(String),
}

const WORDS: [&str; 5] = ["method", "path", "host", "number", "header:NAME"];

impl Template {
    /// Takes a text apart.
    ///
    /// # Errors
    /// What of a place is not known, with the nearest that is.
    pub fn parse(text: &str) -> Result<Template, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(open) = rest.find("{{") {
            let (before, inner) = (&rest[..open], &rest[open + 2..]);
            plain.push_str(before);
            let word = inner.find("}}").map(|close| &inner[..close]).filter(|word| is_word(word));
            let Some(word) = word else {
                plain.push('{'); // one of the two: the next brace may begin a place
                rest = &rest[open + 1..];
                continue;
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(Part::Place(place(word)?));
            rest = &inner[word.len() + 2..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Template(parts))
    }

    /// The text for a request, the nth of its connection.
    pub fn render(&self, request: &Request, number: u64) -> Bytes {
        match &*self.0 {
            [] => return Bytes::new(),
            [Part::Text(text)] => return text.clone(),
            _ => {}
        }
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Place(Place::Method) => out.extend_from_slice(request.method.as_str().as_bytes()),
                Part::Place(Place::Path) => out.extend_from_slice(request.path().as_bytes()),
                Part::Place(Place::Host) => out.extend_from_slice(request.host().as_bytes()),
                Part::Place(Place::Number) => out.extend_from_slice(number.to_string().as_bytes()),
                Part::Place(Place::Header(name)) => {
                    out.extend_from_slice(request.fields.value(name).unwrap_or_default());
                }
            }
        }
        out.into()
    }
}

fn is_word(word: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_:".contains(&b);
    !word.is_empty() && word.trim().bytes().all(is_plain)
}

fn place(word: &str) -> Result<Place, String> {
    let word = word.trim();
    if let Some(name) = word.strip_prefix("header:") {
        return match is_field_name(name.as_bytes()) {
            true => Ok(Place::Header(name.to_owned())),
            false => Err(format!("`{{{{{word}}}}}` names no header")),
        };
    }
    match word {
        "method" => Ok(Place::Method),
        "path" => Ok(Place::Path),
        "host" => Ok(Place::Host),
        "number" => Ok(Place::Number),
        _ => {
            let near = nearest(word, WORDS).map(|near| format!("; did you mean `{{{{{near}}}}}`?"));
            let near = near.unwrap_or_else(|| format!("; there are {}", WORDS.join(", ")));
            Err(format!("`{{{{{word}}}}}` stands for nothing{near}"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_filled_and_all_else_stays() {
        let request = Request {
            authority: "api.example.com:80".into(),
            target: "/a?b".into(),
            fields: [("X-Id", "7")].into_iter().collect(),
            ..Request::default()
        };
        for (text, rendered) in [
            ("", ""),
            ("plain", "plain"),
            ("{{ path }}|{{host}}|{{method}}|{{number}}", "/a|api.example.com|GET|3"),
            ("{{header:x-id}}{{header:y}}.", "7."),
            (r#"{"a":{"b":{{number}}}}"#, r#"{"a":{"b":3}}"#),
            (r#"{{"a": 1}} {{ {{{path}}} {{"#, r#"{{"a": 1}} {{ {/a} {{"#),
        ] {
            assert_eq!(Template::parse(text).unwrap().render(&request, 3), rendered, "{text}");
        }
        for (text, says) in
            [("{{pat}}", "did you mean `{{path}}`"), ("{{zzzzzz}}", "there are method"), ("{{header:}}", "no header")]
        {
            let why = Template::parse(text).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }
}
