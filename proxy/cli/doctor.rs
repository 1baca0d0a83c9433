//! `squall doctor`: which of the clients installed here obey what `squall wrap` tells them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use squall_core::plane::DataPlane;
use squall_wire::SystemClock;

use super::out::{table, tell};
use crate::exit::{Exit, Failure, Outcome};
use crate::wrap::hosts::{HOST, Mapped, Only, StandIn};
use crate::wrap::session::{Options, Session};
use crate::wrap::stand_in::Anybody;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these: curl, git, python-urllib, python-requests, python-httpx, python-aiohttp, node, java, go
    #[arg(value_name = "CLIENT")]
    clients: Vec<String>,
    /// Where the project's CA is kept. Else below XDG_STATE_HOME or ~/.local/state
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// A host that is nowhere: who ignores the proxy does not find it.
const NOWHERE: &str = "doctor.squall.test";
/// How long a client may take; `go run` compiles first.
const PATIENCE: Duration = Duration::from_secs(120);

/// One client.
struct Client {
    name: &'static str,
    program: &'static str,
    /// Whether it is there, by exit code.
    there: &'static [&'static str],
    /// Calls `https://doctor.squall.test/`; `{dir}` stands for a directory with the sources below.
    call: &'static [&'static str],
    /// What to do where it ignores the proxy.
    ignores: &'static str,
    /// What to do where it trusts only its own roots.
    distrusts: &'static str,
}

const NO_PROXY_BY_VARIABLE: &str = "let it obey HTTPS_PROXY, or give it a base URL: squall wrap --reverse";
const NO_TRUST_BY_VARIABLE: &str =
    "point it to the bundle in SSL_CERT_FILE, or give it a base URL: squall wrap --reverse";

macro_rules! python {
    ($name:literal, $module:literal, $call:literal, $ignores:expr) => {
        Client {
            name: concat!("python-", $name),
            program: "python3",
            there: &["-c", concat!("import ", $module)],
            call: &["-c", $call],
            ignores: $ignores,
            distrusts: NO_TRUST_BY_VARIABLE,
        }
    };
}

const CLIENTS: [Client; 9] = [
    Client {
        name: "curl",
        program: "curl",
        there: &["--version"],
        call: &["-sS", "--max-time", "20", "https://doctor.squall.test/"],
        ignores: "look for `noproxy` in ~/.curlrc",
        distrusts: "look for `cacert` in ~/.curlrc",
    },
    Client {
        name: "git",
        program: "git",
        there: &["--version"],
        call: &["ls-remote", "https://doctor.squall.test/x.git"],
        ignores: "git config --global --unset http.proxy",
        distrusts: "git config --global --unset http.sslCAInfo",
    },
    python!(
        "urllib",
        "ssl",
        "import urllib.request as u; u.urlopen('https://doctor.squall.test/', timeout=20).read()",
        NO_PROXY_BY_VARIABLE
    ),
    python!(
        "requests",
        "requests",
        "import requests; requests.get('https://doctor.squall.test/', timeout=20)",
        "leave session.trust_env at True"
    ),
    python!(
        "httpx",
        "httpx",
        "import httpx; httpx.get('https://doctor.squall.test/', timeout=20)",
        "leave trust_env at True"
    ),
    python!(
        "aiohttp",
        "aiohttp",
        "
import aiohttp, asyncio
async def main():
    async with aiohttp.ClientSession() as session:
        async with session.get('https://doctor.squall.test/') as answer:
            await answer.read()
asyncio.run(main())
",
        "aiohttp.ClientSession(trust_env=True), or squall wrap --reverse"
    ),
    Client {
        name: "node",
        program: "node",
        there: &["--version"],
        call: &[
            "-e",
            "fetch('https://doctor.squall.test/').then(a => a.text()).catch(e => { console.error(e.cause ?? e); process.exit(1) })",
        ],
        ignores: "Node 24 obeys (NODE_USE_ENV_PROXY is set); before, undici's setGlobalDispatcher(new EnvHttpProxyAgent()), or \
                  squall wrap --reverse",
        distrusts: "leave NODE_EXTRA_CA_CERTS as it is, and --use-openssl-ca out",
    },
    Client {
        name: "java",
        program: "java",
        there: &["-version"],
        call: &["{dir}/Call.java"],
        ignores: "let JAVA_TOOL_OPTIONS through to the JVM, and use its default ProxySelector",
        distrusts: "let JAVA_TOOL_OPTIONS through to the JVM, and use its default SSLContext",
    },
    Client {
        name: "go",
        program: "go",
        there: &["version"],
        call: &["run", "{dir}/call.go"],
        ignores: "http.Transport{Proxy: http.ProxyFromEnvironment}",
        distrusts: "leave tls.Config.RootCAs nil",
    },
];

const JAVA: &str = "public class Call { public static void main(String[] a) throws Exception {\n\
                    new java.net.URL(\"https://doctor.squall.test/\").openStream().readAllBytes(); } }\n";
const GO: &str = "package main\n\nimport (\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc main() {\n\
                  \tif _, err := http.Get(\"https://doctor.squall.test/\"); err != nil {\n\t\tos.Exit(1)\n\t}\n}\n";

pub(crate) fn run(args: Args) -> Outcome {
    if let Some(unknown) = args.clients.iter().find(|name| CLIENTS.iter().all(|client| client.name != **name)) {
        let known: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
        return Err(Failure::input(format!("`{unknown}` is none of {}", known.join(", "))));
    }
    let service = Anybody::start().map_err(|error| Failure::input(format!("no stand-in: {error}")))?;
    let host: Only = NOWHERE.parse().map_err(Failure::input)?;
    let to = StandIn { address: service.address(), tls: false };
    let maps = vec![Mapped { host, to }];
    let session = Session::open(&Options { maps, state: args.state, allow_live: true, ..Options::default() })?;
    let sources = session.wired.run_directory("doctor");
    put_sources(&sources).map_err(|error| Failure::input(format!("{}: {error}", sources.display())))?;
    let mut rows =
        vec![["client", "finds the proxy", "trusts the certificate", "what to do"].map(str::to_owned).to_vec()];
    let wanted = |client: &&Client| args.clients.is_empty() || args.clients.iter().any(|name| name == client.name);
    let mut is_fine = true;
    for client in CLIENTS.iter().filter(wanted) {
        let Some(version) = is_there(client) else {
            rows.push([client.name, "not installed", "", ""].map(str::to_owned).to_vec());
            continue;
        };
        tell!("{}: {version}", client.name);
        let found = examine(&session, client, &sources);
        is_fine &= found == Found::Obeys;
        let [finds, trusts, fix] = match found {
            Found::Obeys => ["yes", "yes", ""],
            Found::Ignores => ["no", "-", client.ignores],
            Found::Distrusts => ["yes", "no", client.distrusts],
            Found::Late => ["?", "?", "it did not end within two minutes"],
        };
        rows.push([client.name, finds, trusts, fix].map(str::to_owned).to_vec());
    }
    table(&rows);
    session.wired.shut(Duration::ZERO);
    Ok(if is_fine { Exit::Done } else { Exit::Refuted })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Obeys,
    Ignores,
    Distrusts,
    Late,
}

fn put_sources(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("Call.java"), JAVA)?;
    std::fs::write(directory.join("call.go"), GO)
}

/// The first line that it says about itself; none: it is not there.
fn is_there(client: &Client) -> Option<String> {
    let output = Command::new(client.program).args(client.there).stdin(Stdio::null()).output().ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let first = String::from_utf8_lossy(&said).lines().next().unwrap_or("installed").to_owned();
    output.status.success().then_some(first)
}

fn examine(session: &Session, client: &Client, sources: &Path) -> Found {
    let reading = || session.wired.plane().reading(&format!("{HOST}{NOWHERE}")).unwrap_or_default();
    let before = reading();
    session.calls.try_iter().for_each(drop); // of the client before
    let call = client.call.iter().map(|word| word.replace("{dir}", &sources.display().to_string()));
    let mut command = Command::new(client.program);
    command.args(call).envs(session.variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Found::Ignores };
    let until = SystemClock::mono().saturating_add(u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX));
    loop {
        match child.try_wait() {
            Ok(Some(_)) | Err(_) => break,
            Ok(None) if SystemClock::mono() > until => {
                let _it_has_ended = child.kill();
                let _it_has_ended = child.wait();
                return Found::Late;
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    if session.calls.recv_timeout(Duration::from_millis(500)).is_ok() {
        return Found::Obeys;
    }
    let after = reading();
    match after.tls_client_failed > before.tls_client_failed || after.accepted > before.accepted {
        true => Found::Distrusts,
        false => Found::Ignores,
    }
}
