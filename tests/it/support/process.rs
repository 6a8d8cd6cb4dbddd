//! A daemon that is a process of the real program: it can be killed.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tokio::process::Child;

use super::caller::Caller;
use super::installation::Installation;
use super::until;

/// A running `tallyd serve`.
pub struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    /// Starts it and waits until it takes calls.
    pub async fn start(at: &Installation) -> Self {
        let process = Self::start_unready(at).await;
        let caller = Caller::new(process.address);
        until("a daemon that is ready", async || {
            caller.readiness().await.filter(|(status, _)| status.is_success()).map(drop)
        })
        .await;
        process
    }

    /// Starts it and waits until its port answers.
    pub async fn start_unready(at: &Installation) -> Self {
        let log = OpenOptions::new().append(true).create(true).open(at.log()).unwrap();
        let before = usize::try_from(log.metadata().unwrap().len()).unwrap();
        let mut command = at.command(&["serve"]);
        let mut child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let address = until("the daemon's address", async || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended with {status}: {}", told(&at.log(), before));
            }
            address(&told(&at.log(), before))
        })
        .await;
        Self { child, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `kill -9`; returns once it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to end, as systemd does; returns once it is gone, which must have gone well.
    pub async fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().await.unwrap();
        assert!(status.success(), "{status}");
    }
}

fn told(log: &Path, from: usize) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap()[from..]).into_owned()
}

/// The address in the line that tells it.
fn address(log: &str) -> Option<SocketAddr> {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let base_url = lines.find_map(|line| line["base_url"].as_str().map(str::to_owned))?;
    base_url.strip_prefix("http://")?.strip_suffix("/api/v1")?.parse().ok()
}
