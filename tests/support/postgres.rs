//! A PostgreSQL of a test's own.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, getuid};

use super::programs::{free_port, installed, run, run_within};
use super::wait;
use super::{Room, Running};

#[derive(Debug)]
pub struct Postgres {
    pub address: SocketAddr,
    program: Running,
    cluster: PathBuf,
}

impl Postgres {
    pub fn start(room: &Room) -> Postgres {
        let data = home(room);
        let cluster = data.join("cluster");
        let mut initdb = unprivileged(&installed("initdb"));
        initdb.args(["--username", "postgres", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C"]);
        run(initdb.arg("--pgdata").arg(&cluster).current_dir(&data));
        Postgres::serve(&data, &cluster, &["synchronous_standby_names=standby", "synchronous_commit=local"])
    }

    /// A standby of this one, which streams from it through another address; in a room of its own.
    pub fn standby(&self, room: &Room, through: SocketAddr) -> Postgres {
        let data = home(room);
        let cluster = data.join("cluster");
        let mut backup = as_client(unprivileged(&installed("pg_basebackup")), self.address);
        backup.args(["--checkpoint", "fast", "--no-sync", "--write-recovery-conf", "--pgdata"]).arg(&cluster);
        run(backup.current_dir(&data));
        let (host, port) = (through.ip(), through.port());
        let primary = format!("primary_conninfo=host={host} port={port} user=postgres application_name=standby");
        Postgres::serve(&data, &cluster, &[&primary])
    }

    fn serve(data: &Path, cluster: &Path, settings: &[&str]) -> Postgres {
        for _ in 0..5 {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let mut server = unprivileged(&installed("postgres"));
            server.arg("-D").arg(cluster).arg("-k").arg(data).args(["-h", "127.0.0.1", "-F"]);
            server.args(settings.iter().flat_map(|setting| ["-c", setting]));
            server.args(["-p", &address.port().to_string()]).current_dir(data);
            let mut program = Running::start(&mut server);
            let up = wait::until("PostgreSQL to answer", || match TcpStream::connect(address) {
                Ok(_) => program.printed().contains("ready to accept").then_some(true),
                Err(_) => (!program.is_running()).then_some(false),
            });
            if up {
                return Postgres { address, program, cluster: cluster.to_path_buf() };
            }
        }
        panic!("no port for PostgreSQL could be had");
    }

    /// Asks a user for a password in this way (`pg_hba.conf`).
    pub fn lets_in(&self, user: &str, way: &str) {
        let rules = format!("host all {user} 127.0.0.1/32 {way}\nhost all all 127.0.0.1/32 trust\n");
        std::fs::write(self.cluster.join("pg_hba.conf"), rules).unwrap();
        self.ask("select pg_reload_conf()");
        wait::until("the rules to be in force", || {
            (self.ask("select auth_method from pg_hba_file_rules order by line_number limit 1") == way).then_some(())
        });
    }

    /// Has it speak TLS with whoever asks for it, from now on.
    pub fn speaks_tls(&self, cert: &Path, key: &Path) {
        let (own_cert, own_key) = (self.cluster.join("server.crt"), self.cluster.join("server.key"));
        for (from, to) in [(cert, &own_cert), (key, &own_key)] {
            std::fs::copy(from, to).unwrap();
            std::fs::set_permissions(to, PermissionsExt::from_mode(0o600)).unwrap();
            let owner = std::fs::metadata(&self.cluster).unwrap();
            chown(to, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        self.ask("alter system set ssl = on");
        self.ask("select pg_reload_conf()");
        wait::until("TLS to be spoken", || (self.ask("show ssl") == "on").then_some(()));
    }

    /// What `psql` prints for a statement, asked without squall between.
    pub fn ask(&self, sql: &str) -> String {
        self.ask_all(&[sql.to_owned()])
    }

    /// The same for several statements on one connection, one after the other, each in a transaction of its own.
    pub fn ask_all(&self, statements: &[String]) -> String {
        let mut psql = client("psql", self.address);
        psql.args(["--no-psqlrc", "-qtA"]).args(statements.iter().flat_map(|sql| ["-c", sql]));
        run(psql.arg("postgres")).trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // it ends its children and removes its shared memory; killed, it could not
        if self.program.is_running() {
            self.program.signal(Signal::QUIT);
            self.program.code_within(Duration::from_secs(20));
        }
    }
}

/// pgbench against an address: what it prints, and the exit code that it must have.
#[track_caller]
pub fn pgbench(address: SocketAddr, code: i32, words: &[&str]) -> String {
    let (found, printed) = run_within(client("pgbench", address).args(words).arg("postgres"), Duration::from_secs(60));
    assert_eq!(found, code, "{printed}");
    printed
}

fn client(program: &str, address: SocketAddr) -> Command {
    as_client(Command::new(installed(program)), address)
}

fn as_client(mut command: Command, address: SocketAddr) -> Command {
    command.env("PGHOST", address.ip().to_string()).env("PGPORT", address.port().to_string());
    command.env("PGUSER", "postgres").env("PGCONNECT_TIMEOUT", "20");
    command
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    if !getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new(installed("setpriv"));
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]).arg(program);
    command
}

/// A directory that the server's user may write.
fn home(room: &Room) -> PathBuf {
    let home = room.path("postgres");
    std::fs::create_dir(&home).unwrap();
    if getuid().is_root() {
        let id = |what| run(Command::new("id").args([what, "postgres"])).trim().parse().ok();
        chown(&home, id("-u"), id("-g")).unwrap();
    }
    home
}
