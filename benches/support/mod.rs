//! What the benches share: a running daemon, and the disk's own speed.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The daemon's real binary on a folder of its own.
pub struct Daemon {
    child: Child,
    /// Where it serves.
    pub port: u16,
}

impl Daemon {
    /// Starts it in front of `upstream` (`host:port`), with further settings of no section, and waits until it is ready.
    pub fn start(folder: &Path, upstream: &str, settings: &str) -> Self {
        let port = free_port();
        let config = format!(
            "listen = \"127.0.0.1:{port}\"\ndatabase_url = \"sqlite:tallyd.db\"\n{settings}\n[openrouter]\nbase_url = \"http://{upstream}/api/v1\"\napi_key = \"sk-or-v1-bench\"\n\n\
             [[budgets]]\nname = \"everything\"\nwindow = \"month\"\nlimit_usd = 100000\nalert_at = [\"50%\", \"100%\"]\n\n\
             [[budgets]]\nname = \"rolling\"\nwindow = \"rolling 24h\"\nlimit_usd = 100000\nalert_at = [\"100%\"]\nwhen_exceeded = \"block\"\n\n\
             [log]\nlevel = \"warn\"\n"
        );
        std::fs::write(folder.join("tallyd.toml"), config).expect("the bench's folder can be written");
        let child = Command::new(env!("CARGO_BIN_EXE_tallyd"))
            .args(["--config"])
            .arg(folder.join("tallyd.toml"))
            .arg("serve")
            .stdout(Stdio::null())
            .env_clear()
            .spawn()
            .expect("the daemon's binary starts");
        let daemon = Self { child, port };
        let began = Instant::now();
        while !daemon.get("/readyz").starts_with("HTTP/1.1 200") {
            assert!(began.elapsed() < Duration::from_secs(20), "the daemon is not ready after 20 s");
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    /// One GET, its whole answer.
    pub fn get(&self, path: &str) -> String {
        use std::io::Read as _;
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", self.port)) else { return String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        if stream.write_all(request.as_bytes()).is_ok() {
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in MiB, and the most it ever was.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or("0 0");
            line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0)
        };
        (kib("VmRSS:") / 1024, kib("VmHWM:") / 1024)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has at this moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}
