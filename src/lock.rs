//! Ownership of a file or folder by one process, for as long as it lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// An exclusive lock that ends with the process at the latest.
#[derive(Debug)]
pub struct OwnerLock {
    /// Held open: closing the file gives the lock back.
    _file: File,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another process, or another part of this one, has it; its process ID, if the lock file tells.
    Held(Option<u32>),
    /// The lock file can not be used.
    Io(io::Error),
}

impl OwnerLock {
    /// Takes the lock at `path` (0600), which then holds this process's ID for people to read.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The ID is for people; a lock file that cannot be read still says that somebody holds it.
                let pid = file.read_to_string(&mut owner).ok().and_then(|_| owner.trim().parse().ok());
                return Err(LockError::Held(pid));
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(LockError::Io)?;
        Ok(Self { _file: file })
    }
}
