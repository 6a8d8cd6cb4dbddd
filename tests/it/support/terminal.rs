//! The program on a terminal.

use std::process::Stdio;

use super::installation::{Ended, Installation};

/// Runs a command of the program on a terminal, by `script` of util-linux; `None` where there is none.
pub async fn on_a_terminal(at: &Installation, arguments: &[&str]) -> Option<Ended> {
    let mut script = tokio::process::Command::new("script");
    let version = script.arg("--version").output().await.ok()?;
    if !String::from_utf8_lossy(&version.stdout).contains("util-linux") {
        return None;
    }
    let command = at.command(arguments);
    let command = command.as_std();
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = tokio::process::Command::new("script");
    script.args(["-qec", &format!("stty cols 100 rows 24; {}", words.join(" ")), "/dev/null"]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    script.env_clear().env("PATH", path).env("TERM", "xterm").env("HOME", at.folder()).current_dir(at.folder());
    let output = script.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    // A terminal has one output.
    let out = String::from_utf8(output.stdout).unwrap();
    Some(Ended { code: output.status.code(), out, err: String::new() })
}
