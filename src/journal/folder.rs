//! The journal's folder: who owns it, what it is called, what its files are called.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::JournalError;
use super::disk::{Disk, DiskFile, read_chunk};
use super::format::SegmentHeader;
use super::position::JournalId;
use crate::clock::Entropy;
use crate::lock::{LockError, OwnerLock};

const LOCK_NAME: &str = "lock";
pub(super) const ID_NAME: &str = "id";
const ID_DRAFT_NAME: &str = "id.new";
const SPARE_NAME: &str = "spare.seg";
const SEGMENT_SUFFIX: &str = ".seg";
const DAMAGED_SUFFIX: &str = ".damaged";

/// Ownership of the folder.
#[derive(Debug)]
pub(super) struct FolderLock {
    _lock: OwnerLock,
}

impl FolderLock {
    /// Creates the folder where it is missing (0700) and takes the lock in it.
    pub(super) fn acquire(folder: &Path) -> Result<Self, JournalError> {
        let fault = |error| JournalError::Folder { folder: folder.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fault)?;
        match OwnerLock::acquire(&folder.join(LOCK_NAME)) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err(LockError::Held(pid)) => Err(JournalError::Owned { folder: folder.to_owned(), pid }),
            Err(LockError::Io(error)) => Err(fault(error)),
        }
    }
}

/// Reads the journal's ID. Where the file is missing or spoilt, the ID is taken from a segment; where there is none
/// either, the journal is new and gets one.
pub(super) fn load_id(disk: &dyn Disk, folder: &Path, entropy: &Entropy) -> io::Result<JournalId> {
    let path = folder.join(ID_NAME);
    match disk.open(&path).and_then(|file| read_id(&*file)) {
        Ok(Some(id)) => return Ok(id),
        Ok(None) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = match id_from_segments(disk, folder)? {
        Some(id) => id,
        None => JournalId::random(entropy),
    };
    let draft = folder.join(ID_DRAFT_NAME);
    match disk.remove(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&draft)?;
    file.write_all_at(format!("{id}\n").as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(&draft, &path)?;
    disk.sync_folder(folder)?;
    Ok(id)
}

/// The ID in its file; `None` if it is spoilt.
pub(super) fn read_id(file: &dyn DiskFile) -> io::Result<Option<JournalId>> {
    let bytes = read_chunk(file, 0, 64)?;
    Ok(std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok()))
}

fn id_from_segments(disk: &dyn Disk, folder: &Path) -> io::Result<Option<JournalId>> {
    for number in segment_numbers(disk, folder)? {
        let file = disk.open(&segment_path(folder, number))?;
        let head = read_chunk(&*file, 0, SegmentHeader::BYTES)?;
        if let Ok(header) = SegmentHeader::decode(&head) {
            return Ok(Some(header.journal));
        }
    }
    Ok(None)
}

/// Numbers of the segments in the folder, ascending.
pub(super) fn segment_numbers(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk
        .list(folder)?
        .iter()
        .filter_map(|name| name.strip_suffix(SEGMENT_SUFFIX))
        .filter(|stem| stem.len() >= 16 && stem.bytes().all(|digit| digit.is_ascii_digit()))
        .filter_map(|stem| stem.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// How many files stand aside because something in them could not be read.
pub(super) fn damaged_count(disk: &dyn Disk, folder: &Path) -> io::Result<usize> {
    Ok(disk.list(folder)?.iter().filter(|name| name.ends_with(DAMAGED_SUFFIX)).count())
}

pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}{SEGMENT_SUFFIX}"))
}

/// A drained segment's file that waits to be used again: overwriting it costs less per sync than growing a new one.
pub(super) fn spare_path(folder: &Path) -> PathBuf {
    folder.join(SPARE_NAME)
}

/// Where a segment is kept that could not be read wholly.
pub(super) fn damaged_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}{SEGMENT_SUFFIX}{DAMAGED_SUFFIX}"))
}
