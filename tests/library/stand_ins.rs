//! Stand-ins that answer as the services do: streams of language models, with and without a call of a tool.

use crate::support::api::{Api, Asked, Says};

/// An event of OpenAI's chat completions.
fn chunk(delta: &str, finish: &str) -> String {
    let (delta, finish) = (delta.to_owned(), finish.to_owned());
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",\
         \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

/// The words that the models say, piece by piece.
pub(super) const WORDS: [&str; 5] = ["The ", "answer ", "is ", "forty", "-two."];
/// The arguments of the tool that they call, piece by piece.
pub(super) const ARGUMENTS: [&str; 4] = [r#"{\"am"#, r#"ount\":"#, r#" 100, \"to"#, r#"\": \"bob\"}"#];

/// What OpenAI streams: the role, five words, the end.
pub(super) fn openai_words() -> Vec<String> {
    let mut events = vec![chunk(r#"{"role":"assistant","content":""}"#, "null")];
    events.extend(WORDS.map(|word| chunk(&format!(r#"{{"content":"{word}"}}"#), "null")));
    events.extend([chunk("{}", "\"stop\""), "data: [DONE]\n\n".to_owned()]);
    events
}

/// What OpenAI streams when it calls a tool.
pub(super) fn openai_tool() -> Vec<String> {
    let call = |rest: &str| chunk(&format!(r#"{{"tool_calls":[{{"index":0,{rest}}}]}}"#), "null");
    let first = r#""id":"call_1","type":"function","function":{"name":"pay","arguments":""}"#;
    let mut events = vec![call(first)];
    events.extend(ARGUMENTS.map(|piece| call(&format!(r#""function":{{"arguments":"{piece}"}}"#))));
    events.extend([chunk("{}", "\"tool_calls\""), "data: [DONE]\n\n".to_owned()]);
    events
}

fn event(kind: &str, rest: &str) -> String {
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n")
}

fn message(block: &str, deltas: impl IntoIterator<Item = String>, stop: &str) -> Vec<String> {
    let usage = r#""usage":{"input_tokens":9,"output_tokens":1}"#;
    let start = format!(
        r#","message":{{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"stop_sequence":null,{usage}}}"#
    );
    let mut events = vec![event("message_start", &start)];
    events.push(event("content_block_start", &format!(r#","index":0,"content_block":{block}"#)));
    events.push(event("ping", ""));
    events.extend(
        deltas.into_iter().map(|delta| event("content_block_delta", &format!(r#","index":0,"delta":{delta}"#))),
    );
    events.push(event("content_block_stop", r#","index":0"#));
    let delta = format!(r#","delta":{{"stop_reason":"{stop}","stop_sequence":null}},"usage":{{"output_tokens":9}}"#);
    events.extend([event("message_delta", &delta), event("message_stop", "")]);
    events
}

/// What Anthropic streams: the beginning, a ping, five words, the end.
pub(super) fn anthropic_words() -> Vec<String> {
    let deltas = WORDS.map(|word| format!(r#"{{"type":"text_delta","text":"{word}"}}"#));
    message(r#"{"type":"text","text":""}"#, deltas, "end_turn")
}

/// What Anthropic streams when it calls a tool.
pub(super) fn anthropic_tool() -> Vec<String> {
    let deltas = ARGUMENTS.map(|piece| format!(r#"{{"type":"input_json_delta","partial_json":"{piece}"}}"#));
    message(r#"{"type":"tool_use","id":"toolu_1","name":"pay","input":{}}"#, deltas, "tool_use")
}

/// OpenAI and Anthropic, by path; streams where a client asks for one, a call of a tool where it offers one.
pub(super) fn models() -> Api {
    Api::answering(|asked: &Asked| {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let has = |key: &str| body.replace(' ', "").contains(key);
        match (asked.target.as_str(), has("\"tools\":[")) {
            ("/v1/chat/completions", _) if !has("\"stream\":true") && body != "{}" => Says::json(
                r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"The answer is forty-two."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}"#,
            ),
            ("/v1/chat/completions", false) => Says::Events(openai_words()),
            ("/v1/chat/completions", true) => Says::Events(openai_tool()),
            ("/v1/messages", _) if !has("\"stream\":true") && body != "{}" => Says::json(
                r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"The answer is forty-two."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":9}}"#,
            ),
            ("/v1/messages", false) => Says::Events(anthropic_words()),
            ("/v1/messages", true) => Says::Events(anthropic_tool()),
            _ => Says::Whole(404, "application/json".into(), b"{}".to_vec()),
        }
    })
}
