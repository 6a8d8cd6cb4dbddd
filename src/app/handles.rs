//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Handles beside those of connections: the database's, the journal's, standard streams, mail, readings of records.
const OTHERS: u64 = 128;

/// Raises what the system allows by default (often 1,024) to what it allows at most. A warning when that is too little for
/// `max_connections`, each of which may need one more towards OpenRouter.
pub fn raise_limit(max_connections: usize) -> Option<String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = if raised.is_ok() { maximum } else { current };
    warning(allowed, max_connections)
}

/// What to say of a limit; `None` for no limit is enough for anything.
fn warning(allowed: Option<u64>, max_connections: usize) -> Option<String> {
    let needed = (max_connections as u64).saturating_mul(2).saturating_add(OTHERS);
    let allowed = allowed.filter(|allowed| *allowed < needed)?;
    Some(format!(
        "the system allows this process {allowed} open files and sockets, and gateway.max_connections = {max_connections} \
         may need {needed}: raise the limit (LimitNOFILE of the systemd unit, ulimit -Hn, or the container's), or lower \
         gateway.max_connections"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_small_is_told_with_what_would_do() {
        assert_eq!(warning(None, 4_096), None);
        assert_eq!(warning(Some(8_320), 4_096), None);
        let told = warning(Some(1_024), 4_096).unwrap();
        assert!(told.contains("1024") && told.contains("8320") && told.contains("LimitNOFILE"), "{told}");
    }
}
