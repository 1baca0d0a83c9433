//! Requests and what comes back, line by line. `observed`: seen on the genuine server 2.12.0; `read`: read in its source or
//! in its clients'; `better`: decided otherwise, see `docs/toxiproxy.md`.

use serde_json::Value;

use super::support::Toxi;

/// A line of the table: mark, what is done before, the request, its body, the status, and what the answer holds: a JSON
/// value whose keys must all be there with these values (`"*"`: any), or `=text` for exactly this, or `~text` for a part.
type Case = (&'static str, &'static [&'static str], &'static str, &'static str, u16, &'static str);

/// A proxy `p` that listens, and the same with toxics.
const P: &str = r#"POST /proxies {"name":"p","listen":"127.0.0.1:0","upstream":"UP"}"#;
const OFF: &str = r#"POST /proxies {"name":"p","listen":"127.0.0.1:0","upstream":"UP","enabled":false}"#;
const T: &str = r#"POST /proxies/p/toxics {"name":"t","type":"latency","attributes":{"latency":7,"jitter":3}}"#;
const U: &str = r#"POST /proxies/p/toxics {"name":"u","type":"bandwidth","stream":"upstream","attributes":{"rate":9}}"#;

const CASES: &[Case] = &[
    // --- routes and methods
    ("observed", &[], "GET /version", "", 200, "={\"version\": \"2.12.0\"}\n"),
    ("observed", &[], "GET /proxies", "", 200, "={}"),
    ("observed", &[], "GET /", "", 404, "=404 page not found\n"),
    ("observed", &[], "GET /nothing", "", 404, "=404 page not found\n"),
    ("observed", &[], "GET /proxies/", "", 404, "=404 page not found\n"),
    ("observed", &[P], "GET /proxies/p/", "", 404, "=404 page not found\n"),
    ("observed", &[P], "GET /proxies/p/toxics/", "", 404, "=404 page not found\n"),
    ("observed", &[], "DELETE /proxies", "", 405, "="),
    ("observed", &[], "PUT /proxies", "", 405, "="),
    ("observed", &[], "GET /populate", "", 405, "="),
    ("observed", &[], "GET /reset", "", 405, "="),
    ("observed", &[], "POST /version", "", 405, "="),
    ("observed", &[P], "PUT /proxies/p", "{}", 405, "="),
    ("observed", &[P], "DELETE /proxies/p/toxics", "", 405, "="),
    ("read", &[], "POST /metrics", "", 405, "="),
    // --- making proxies
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"127.0.0.1:0","upstream":"UP"}"#,
        201,
        r#"{"name":"p","listen":"*","upstream":"UP","enabled":true,"toxics":[],"Logger":{}}"#,
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"localhost:0","upstream":"UP"}"#,
        201,
        "~\"listen\":\"127.0.0.1:",
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"0.0.0.0:0","upstream":"UP"}"#,
        201,
        "~\"listen\":\"[::]:",
    ),
    ("observed", &[], "POST /proxies", r#"{"name":"p","listen":":0","upstream":"UP"}"#, 201, "~\"listen\":\"[::]:"),
    ("read", &[], "POST /proxies", r#"{"name":"p","upstream":"UP"}"#, 201, "~\"listen\":\"[::]:"),
    ("read", &[], "POST /proxies", r#"{"name":"p","listen":null,"upstream":"UP"}"#, 201, r#"{"enabled":true}"#),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"NAME":"p","Listen":"127.0.0.1:0","UpStream":"UP"}"#,
        201,
        r#"{"name":"p"}"#,
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"127.0.0.1:0","upstream":"UP","more":{"a":[1]}}"#,
        201,
        r#"{"name":"p"}"#,
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"127.0.0.1:0","upstream":"UP"} and so on"#,
        201,
        r#"{"name":"p"}"#,
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"127.0.0.1:0","upstream":"UP","enabled":null}"#,
        201,
        r#"{"enabled":true}"#,
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"127.0.0.1:0","upstream":"UP","enabled":false}"#,
        201,
        r#"{"enabled":false,"listen":"127.0.0.1:0"}"#,
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"h:80","listen":"127.0.0.1:0","upstream":"UP"}"#,
        201,
        r#"{"name":"h:80"}"#,
    ),
    (
        "read",
        &[],
        "POST /proxies",
        r#"{"name":"a/b","listen":"127.0.0.1:0","upstream":"UP"}"#,
        201,
        r#"{"name":"a/b"}"#,
    ),
    (
        "read",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"127.0.0.1:0","upstream":"no.such.host.invalid:80"}"#,
        201,
        r#"{"enabled":true}"#,
    ),
    ("observed", &[], "POST /proxies", "", 400, "~bad request body: "),
    ("observed", &[], "POST /proxies", "{", 400, "~bad request body: "),
    ("observed", &[], "POST /proxies", "[]", 400, "~bad request body: "),
    ("observed", &[], "POST /proxies", r#"{"name":7}"#, 400, "~bad request body: "),
    ("observed", &[], "POST /proxies", r#"{"name":"p","upstream":"UP","enabled":"yes"}"#, 400, "~bad request body: "),
    ("observed", &[], "POST /proxies", "null", 400, r#"{"error":"missing required field: name","status":400}"#),
    ("observed", &[], "POST /proxies", "{}", 400, r#"{"error":"missing required field: name","status":400}"#),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"","upstream":"UP"}"#,
        400,
        r#"{"error":"missing required field: name","status":400}"#,
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":null,"upstream":"UP"}"#,
        400,
        r#"{"error":"missing required field: name","status":400}"#,
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"p"}"#,
        400,
        r#"{"error":"missing required field: upstream","status":400}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies",
        r#"{"name":"p","listen":"127.0.0.1:0","upstream":"UP"}"#,
        409,
        "={\"error\":\"proxy already exists\",\"status\":409}\n",
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"UP","upstream":"UP"}"#,
        500,
        r#"{"error":"listen tcp UP: bind: address already in use","status":500}"#,
    ),
    (
        "observed",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"127.0.0.1","upstream":"UP"}"#,
        500,
        "~missing port in address",
    ),
    (
        "read",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"no.such.host.invalid:0","upstream":"UP"}"#,
        500,
        "~no such host",
    ),
    (
        "better",
        &[],
        "POST /proxies",
        r#"{"name":"p","listen":"127.0.0.1:0","upstream":"169.254.169.254:80"}"#,
        403,
        "~not allowed",
    ),
    // --- looking at and changing proxies
    ("observed", &[P], "GET /proxies/p", "", 200, r#"{"name":"p","enabled":true,"toxics":[]}"#),
    ("observed", &[P], "GET /proxies", "", 200, r#"{"p":{"name":"p"}}"#),
    ("observed", &[], "GET /proxies/p", "", 404, "={\"error\":\"proxy not found\",\"status\":404}\n"),
    ("observed", &[], "POST /proxies/p", "{}", 404, "~proxy not found"),
    ("observed", &[], "DELETE /proxies/p", "", 404, "~proxy not found"),
    ("observed", &[P], "DELETE /proxies/p", "", 204, "="),
    ("observed", &[P, "DELETE /proxies/p "], "GET /proxies", "", 200, "={}"),
    ("observed", &[P], "POST /proxies/p", r#"{"enabled":false}"#, 200, r#"{"enabled":false}"#),
    ("observed", &[P], "PATCH /proxies/p", r#"{"enabled":false}"#, 200, r#"{"enabled":false}"#),
    ("observed", &[OFF], "POST /proxies/p", r#"{"enabled":true}"#, 200, r#"{"enabled":true}"#),
    ("observed", &[P], "POST /proxies/p", "{}", 200, r#"{"enabled":true,"upstream":"UP"}"#),
    ("observed", &[P], "POST /proxies/p", r#"{"name":"other","enabled":null}"#, 200, r#"{"name":"p","enabled":true}"#),
    ("observed", &[P], "POST /proxies/p", r#"{"upstream":"127.0.0.1:9"}"#, 200, r#"{"upstream":"127.0.0.1:9"}"#),
    (
        "observed",
        &[OFF],
        "POST /proxies/p",
        r#"{"listen":"127.0.0.1:0","upstream":"127.0.0.1:9"}"#,
        200,
        r#"{"upstream":"127.0.0.1:9","enabled":false}"#,
    ),
    ("observed", &[P, T], "POST /proxies/p", r#"{"upstream":"127.0.0.1:9"}"#, 200, r#"{"toxics":[{"name":"t"}]}"#),
    ("observed", &[P], "POST /proxies/p", r#"{"enabled":7}"#, 400, "~bad request body: "),
    ("observed", &[P], "POST /proxies/p", "", 400, "~bad request body: "),
    ("better", &[P], "POST /proxies/p", r#"{"listen":"UP"}"#, 500, "~address already in use"),
    ("observed", &[OFF], "GET /proxies/p", "", 200, r#"{"listen":"127.0.0.1:0","enabled":false}"#),
    (
        "read",
        &[r#"POST /proxies {"name":"h:80","listen":"127.0.0.1:0","upstream":"UP"}"#],
        "GET /proxies/h:80",
        "",
        200,
        r#"{"name":"h:80"}"#,
    ),
    (
        "read",
        &[r#"POST /proxies {"name":"a/b","listen":"127.0.0.1:0","upstream":"UP"}"#],
        "GET /proxies/a%2Fb",
        "",
        200,
        r#"{"name":"a/b"}"#,
    ),
    // --- toxics
    ("observed", &[P], "GET /proxies/p/toxics", "", 200, "=[]"),
    ("observed", &[], "GET /proxies/p/toxics", "", 404, "~proxy not found"),
    ("observed", &[], "POST /proxies/p/toxics", r#"{"type":"latency"}"#, 404, "~proxy not found"),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","attributes":{"latency":100}}"#,
        200,
        r#"{"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1,"attributes":{"latency":100,"jitter":0}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency"}"#,
        200,
        r#"{"attributes":{"latency":0,"jitter":0}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","attributes":null}"#,
        200,
        r#"{"attributes":{"latency":0,"jitter":0}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"Type":"latency","Stream":"upstream","Attributes":{"Latency":5}}"#,
        200,
        r#"{"name":"latency_upstream","attributes":{"latency":5}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","stream":"UpStream"}"#,
        200,
        r#"{"name":"latency_UpStream","stream":"UpStream"}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","stream":null}"#,
        200,
        r#"{"stream":"downstream"}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"bandwidth","attributes":{"rate":100}}"#,
        200,
        r#"{"attributes":{"rate":100}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"slow_close","attributes":{"delay":5}}"#,
        200,
        r#"{"attributes":{"delay":5}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"timeout","attributes":{"timeout":5}}"#,
        200,
        r#"{"attributes":{"timeout":5}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"reset_peer","attributes":{"timeout":5}}"#,
        200,
        r#"{"attributes":{"timeout":5}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"slicer","attributes":{"average_size":9,"size_variation":3,"delay":7}}"#,
        200,
        r#"{"attributes":{"average_size":9,"size_variation":3,"delay":7}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"slicer"}"#,
        200,
        r#"{"attributes":{"average_size":0,"size_variation":0,"delay":0}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"limit_data","attributes":{"bytes":5}}"#,
        200,
        r#"{"attributes":{"bytes":5}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"noop"}"#,
        200,
        r#"{"name":"noop_downstream","attributes":{}}"#,
    ),
    ("observed", &[P], "POST /proxies/p/toxics", r#"{"type":"noop","toxicity":0.5}"#, 200, r#"{"toxicity":0.5}"#),
    ("observed", &[P], "POST /proxies/p/toxics", r#"{"type":"noop","toxicity":2.5}"#, 200, r#"{"toxicity":2.5}"#),
    ("observed", &[P], "POST /proxies/p/toxics", r#"{"type":"noop","toxicity":-1}"#, 200, r#"{"toxicity":-1}"#),
    ("observed", &[P], "POST /proxies/p/toxics", r#"{"type":"noop","toxicity":0}"#, 200, r#"{"toxicity":0}"#),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","attributes":{"latency":-5}}"#,
        200,
        r#"{"attributes":{"latency":-5}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","stream":""}"#,
        400,
        r#"{"error":"stream was invalid, can be either upstream or downstream","status":400}"#,
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","stream":"sideways"}"#,
        400,
        "~stream was invalid",
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"Latency"}"#,
        400,
        "={\"error\":\"invalid toxic type\",\"status\":400}\n",
    ),
    ("observed", &[P], "POST /proxies/p/toxics", r#"{}"#, 400, "~invalid toxic type"),
    ("better", &[P], "POST /proxies/p/toxics", r#"{"type":"corrupt"}"#, 400, "~invalid toxic type"),
    ("observed", &[P], "POST /proxies/p/toxics", r#"{"type":"latency","attributes":[]}"#, 400, "~bad request body: "),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","attributes":{"latency":10.0}}"#,
        400,
        "~bad request body: ",
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","attributes":{"latency":1e3}}"#,
        400,
        "~bad request body: ",
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","attributes":{"latency":"10"}}"#,
        400,
        "~bad request body: ",
    ),
    (
        "observed",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","attributes":{"latency":9223372036854775808}}"#,
        400,
        "~bad request body: ",
    ),
    ("observed", &[P], "POST /proxies/p/toxics", r#"{"type":"noop","toxicity":"1"}"#, 400, "~bad request body: "),
    (
        "observed",
        &[P, T],
        "POST /proxies/p/toxics",
        r#"{"name":"t","type":"noop"}"#,
        409,
        "={\"error\":\"toxic already exists\",\"status\":409}\n",
    ),
    (
        "observed",
        &[P, T],
        "POST /proxies/p/toxics",
        r#"{"name":"t","type":"noop","stream":"upstream"}"#,
        409,
        "~toxic already exists",
    ),
    ("observed", &[P, T, U], "GET /proxies/p/toxics", "", 200, r#"[{"name":"u"},{"name":"t"}]"#),
    (
        "observed",
        &[P, T],
        "GET /proxies/p",
        "",
        200,
        r#"{"toxics":[{"name":"t","attributes":{"latency":7,"jitter":3}}]}"#,
    ),
    ("observed", &[P, T], "GET /proxies/p/toxics/t", "", 200, r#"{"name":"t","attributes":{"latency":7,"jitter":3}}"#),
    ("observed", &[P], "GET /proxies/p/toxics/t", "", 404, "={\"error\":\"toxic not found\",\"status\":404}\n"),
    ("observed", &[P], "POST /proxies/p/toxics/t", "{}", 404, "~toxic not found"),
    ("observed", &[P], "DELETE /proxies/p/toxics/t", "", 404, "~toxic not found"),
    ("observed", &[P, T], "DELETE /proxies/p/toxics/t", "", 204, "="),
    ("observed", &[P, T, "DELETE /proxies/p/toxics/t "], "GET /proxies/p/toxics", "", 200, "=[]"),
    (
        "observed",
        &[P, T],
        "POST /proxies/p/toxics/t",
        r#"{"attributes":{"latency":9}}"#,
        200,
        r#"{"attributes":{"latency":9,"jitter":3},"toxicity":1}"#,
    ),
    (
        "observed",
        &[P, T],
        "PATCH /proxies/p/toxics/t",
        r#"{"attributes":{"jitter":0}}"#,
        200,
        r#"{"attributes":{"latency":7,"jitter":0}}"#,
    ),
    (
        "observed",
        &[P, T],
        "POST /proxies/p/toxics/t",
        r#"{"toxicity":0.25}"#,
        200,
        r#"{"toxicity":0.25,"attributes":{"latency":7}}"#,
    ),
    (
        "observed",
        &[P, T, r#"POST /proxies/p/toxics/t {"toxicity":0.25}"#],
        "POST /proxies/p/toxics/t",
        r#"{"attributes":{"latency":1}}"#,
        200,
        r#"{"toxicity":0.25}"#,
    ),
    (
        "observed",
        &[P, T],
        "POST /proxies/p/toxics/t",
        r#"{"name":"x","type":"noop","stream":"upstream"}"#,
        200,
        r#"{"name":"t","type":"latency","stream":"downstream"}"#,
    ),
    ("observed", &[P, T], "POST /proxies/p/toxics/t", r#"{"attributes":{"latency":"9"}}"#, 400, "~bad request body: "),
    (
        "better",
        &[P, T, r#"POST /proxies/p/toxics/t {"toxicity":0.5,"attributes":{"latency":"9"}}"#],
        "GET /proxies/p/toxics/t",
        "",
        200,
        r#"{"toxicity":1,"attributes":{"latency":7,"jitter":3}}"#,
    ),
    ("observed", &[OFF], "POST /proxies/p/toxics", r#"{"type":"noop"}"#, 200, r#"{"name":"noop_downstream"}"#),
    // --- inputs that end the genuine process at the first byte
    (
        "better",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"slicer","attributes":{"average_size":0,"size_variation":5}}"#,
        200,
        r#"{"type":"slicer"}"#,
    ),
    (
        "better",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"slicer","attributes":{"average_size":5,"size_variation":9}}"#,
        400,
        "~size_variation",
    ),
    (
        "better",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"slicer","attributes":{"average_size":-5}}"#,
        400,
        "~average_size",
    ),
    ("better", &[P], "POST /proxies/p/toxics", r#"{"type":"bandwidth","attributes":{"rate":-1}}"#, 400, "~rate"),
    (
        "better",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"bandwidth","attributes":{"rate":9223372036854775807}}"#,
        400,
        "~rate",
    ),
    (
        "better",
        &[P],
        "POST /proxies/p/toxics",
        r#"{"type":"latency","attributes":{"jitter":4611686018427387904}}"#,
        400,
        "~jitter",
    ),
    ("better", &[P, T], "POST /proxies/p/toxics/t", r#"{"attributes":{"jitter":4611686018427387904}}"#, 400, "~jitter"),
    // --- populate and reset
    ("better", &[], "POST /populate", "[]", 201, r#"={"proxies":[]}"#),
    (
        "observed",
        &[],
        "POST /populate",
        r#"[{"name":"p","listen":"127.0.0.1:0","upstream":"UP"}]"#,
        201,
        r#"{"proxies":[{"name":"p","enabled":true}]}"#,
    ),
    (
        "observed",
        &[],
        "POST /populate",
        r#"[{"name":"p","listen":"127.0.0.1:0","upstream":"UP","enabled":false}]"#,
        201,
        r#"{"proxies":[{"enabled":false}]}"#,
    ),
    ("observed", &[], "POST /populate", "{}", 400, r#"{"proxies":null,"status":400}"#),
    ("observed", &[], "POST /populate", "", 400, "~bad request body: "),
    (
        "observed",
        &[],
        "POST /populate",
        r#"[{"name":"p","upstream":"UP"},{"name":"q"}]"#,
        400,
        r#"{"error":"missing required field: upstream at proxy 2","proxies":null,"status":400}"#,
    ),
    (
        "observed",
        &[r#"POST /populate [{"name":"p","listen":"127.0.0.1:0","upstream":"UP"},{"upstream":"UP"}]"#],
        "GET /proxies",
        "",
        200,
        "={}",
    ),
    (
        "observed",
        &[],
        "POST /populate",
        r#"[{"name":"p","listen":"127.0.0.1:0","upstream":"UP"},{"name":"q","listen":"UP","upstream":"UP"}]"#,
        500,
        r#"{"proxies":[{"name":"p"}],"status":500}"#,
    ),
    (
        "observed",
        &[
            r#"POST /populate [{"name":"p","listen":"127.0.0.1:0","upstream":"UP"},{"name":"q","listen":"UP","upstream":"UP"}]"#,
        ],
        "GET /proxies",
        "",
        200,
        r#"{"p":{"enabled":true}}"#,
    ),
    (
        "observed",
        &[P],
        "POST /populate",
        r#"[{"name":"q","listen":"127.0.0.1:0","upstream":"UP"}]"#,
        201,
        r#"{"proxies":[{"name":"q"}]}"#,
    ),
    (
        "better",
        &[],
        "POST /populate",
        r#"[{"name":"p","listen":"127.0.0.1:0","upstream":"UP","toxics":[{"type":"latency","attributes":{"latency":3}}]}]"#,
        201,
        r#"{"proxies":[{"toxics":[{"name":"latency_downstream","attributes":{"latency":3}}]}]}"#,
    ),
    ("observed", &[], "POST /reset", "whatever", 204, "="),
    ("observed", &[P, T, "POST /reset "], "GET /proxies/p", "", 200, r#"{"toxics":[]}"#),
    ("observed", &[OFF, "POST /reset "], "GET /proxies/p", "", 200, r#"{"enabled":true}"#),
];

/// Whether all that `wanted` names is there.
pub fn holds(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::String(any), found) if any == "*" => !found.is_null(),
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().all(|(key, value)| found.get(key).is_some_and(|found| holds(value, found)))
        }
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().zip(found).all(|(wanted, found)| holds(wanted, found))
        }
        (wanted, found) => wanted == found,
    }
}

#[test]
fn every_line_of_the_table() {
    let toxi = Toxi::new();
    let upstream = toxi.upstream.local_addr().unwrap().to_string();
    let filled = |text: &str| text.replace("UP\"", &format!("{upstream}\"")).replace("UP:", &format!("{upstream}:"));
    let mut wrong = Vec::new();
    for (number, (mark, before, request, body, status, wanted)) in CASES.iter().enumerate() {
        assert!(["observed", "read", "better"].contains(mark));
        for name in toxi.get("/proxies").as_object().unwrap().keys() {
            toxi.ask("DELETE", &format!("/proxies/{}", name.replace('/', "%2F")), "").is(204);
        }
        for step in *before {
            let mut words = step.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default();
            toxi.ask(word(), word(), &filled(word()));
        }
        let (method, path) = request.split_once(' ').unwrap();
        let reply = toxi.ask(method, path, &filled(body));
        let is_right = match wanted.split_at(1) {
            ("=", text) => reply.body == text,
            ("~", text) => reply.body.contains(text),
            _ => serde_json::from_str(&reply.body)
                .is_ok_and(|found| holds(&serde_json::from_str(&filled(wanted)).unwrap(), &found)),
        };
        if reply.status != *status || !is_right {
            wrong.push(format!(
                "{number}: {request} {body}\n  wanted {status} {wanted}\n  came {} {}",
                reply.status, reply.body
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} lines:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    let genuine = CASES.iter().filter(|case| case.0 != "better").count();
    assert!(genuine >= 100, "{genuine} lines say what the genuine server does");
}

#[test]
fn headers_are_the_original_s() {
    let toxi = Toxi::new();
    let version = toxi.ask("GET", "/version", "");
    assert_eq!(version.header("content-type"), Some("application/json;charset=utf-8"));
    assert!(version.header("x-toxiproxy-request-id").is_some());
    assert_eq!(toxi.ask("GET", "/proxies", "").header("content-type"), Some("application/json"));
    assert_eq!(toxi.ask("GET", "/proxies/p", "").header("content-type"), Some("text/plain; charset=utf-8"));
    let nowhere = toxi.ask("GET", "/nowhere", "");
    assert_eq!(nowhere.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(nowhere.header("x-toxiproxy-request-id"), None, "on matched routes only");
    let populate = toxi.ask("POST", "/populate", "{}");
    assert_eq!(populate.header("content-type"), Some("application/json"));
}

#[test]
fn browsers_and_rebound_names_are_kept_away() {
    let toxi = Toxi::new();
    let ask = |path: &str, headers: &str| {
        toxi.raw(format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n").as_bytes())
    };
    let browser = ask("/proxies", "Host: localhost\r\nUser-Agent: Mozilla/5.0 (X11)\r\n").is(403);
    assert_eq!(browser.body, "User agent not allowed\n");
    ask("/nowhere", "Host: localhost\r\nUser-Agent: Mozilla/5.0\r\n").is(404);
    ask("/proxies", "Host: localhost\r\nOrigin: http://evil.example\r\n").is(403);
    ask("/proxies", "Host: evil.example\r\n").is(421);
    for host in ["localhost", "localhost:8474", "127.0.0.1:1", "[::1]:8474", "toxiproxy", "toxiproxy:8474", "10.1.2.3"]
    {
        ask("/proxies", &format!("Host: {host}\r\n")).is(200);
    }
}
