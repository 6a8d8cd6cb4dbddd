//! A file system in memory that fails, fills up, hangs and forgets on demand.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::journal::disk::{Disk, DiskFile};

/// A scripted file system. Creation, renaming and removal are durable at once; contents when they are synced.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryDisk(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    script: Mutex<Script>,
    let_go: Condvar,
}

#[derive(Debug, Default)]
struct Script {
    files: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    /// Bytes that still fit; `None`: any number.
    free: Option<usize>,
    syncs_to_fail: usize,
    syncs_to_hang: usize,
    renames_to_hang: usize,
    hanging: usize,
    let_go: usize,
    reads_to_fail: usize,
    syncs: usize,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

impl MemoryDisk {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap()
    }

    pub(super) fn set_free(&self, bytes: Option<usize>) {
        self.script().free = bytes;
    }

    pub(super) fn fail_syncs(&self, number: usize) {
        self.script().syncs_to_fail = number;
    }

    pub(super) fn fail_reads(&self, number: usize) {
        self.script().reads_to_fail = number;
    }

    /// The next syncs do not return until [`MemoryDisk::let_go`].
    pub(super) fn hang_syncs(&self, number: usize) {
        self.script().syncs_to_hang = number;
    }

    /// The next renames do not return until [`MemoryDisk::let_go`].
    pub(super) fn hang_renames(&self, number: usize) {
        self.script().renames_to_hang = number;
    }

    pub(super) fn hanging(&self) -> usize {
        self.script().hanging
    }

    /// Lets everything that hangs return.
    pub(super) fn let_go(&self) {
        let mut script = self.script();
        script.syncs_to_hang = 0;
        script.let_go += script.hanging;
        drop(script);
        self.0.let_go.notify_all();
    }

    fn hang<'a>(&'a self, mut script: MutexGuard<'a, Script>) -> MutexGuard<'a, Script> {
        script.hanging += 1;
        while script.let_go == 0 {
            script = self.0.let_go.wait(script).unwrap();
        }
        script.let_go -= 1;
        script.hanging -= 1;
        script
    }

    /// Syncs of files that succeeded.
    pub(super) fn syncs(&self) -> usize {
        self.script().syncs
    }

    /// What is on the disk after the process was killed.
    pub(super) fn after_kill(&self) -> Self {
        self.copy(|content| content.now.clone())
    }

    /// What is on the disk after power was lost: the synced contents alone.
    pub(super) fn after_power_loss(&self) -> Self {
        self.copy(|content| content.synced.clone())
    }

    fn copy(&self, keep: impl Fn(&Content) -> Vec<u8>) -> Self {
        let files = self
            .script()
            .files
            .iter()
            .map(|(path, content)| {
                let bytes = keep(&content.lock().unwrap());
                (path.clone(), Arc::new(Mutex::new(Content { now: bytes.clone(), synced: bytes })))
            })
            .collect();
        let disk = Self::default();
        disk.script().files = files;
        disk
    }

    /// Puts everything into another folder.
    pub(super) fn move_all(&self, from: &Path, to: &Path) {
        let mut script = self.script();
        let files = std::mem::take(&mut script.files);
        script.files =
            files.into_iter().map(|(path, content)| (to.join(path.strip_prefix(from).unwrap()), content)).collect();
    }

    /// Names of the files there are.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        self.script().files.keys().map(name).collect()
    }

    /// Changes a file's contents behind everybody's back.
    pub(super) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let script = self.script();
        let (_, content) = script.files.iter().find(|(path, _)| path.ends_with(name)).unwrap();
        let mut content = content.lock().unwrap();
        edit(&mut content.now);
        content.synced = content.now.clone();
    }

    pub(super) fn remove_named(&self, name: &str) {
        self.script().files.retain(|path, _| !path.ends_with(name));
    }

    pub(super) fn contents(&self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.edit(name, |content| bytes.clone_from(content));
        bytes
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemoryDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut script = self.script();
        if script.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::new(Mutex::default());
        script.files.insert(path.to_owned(), Arc::clone(&content));
        Ok(Arc::new(MemoryFile { disk: self.clone(), content }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.script().files.get(path).cloned().ok_or_else(not_found)?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), content }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut script = self.script();
        if script.renames_to_hang > 0 {
            script.renames_to_hang -= 1;
            script = self.hang(script);
        }
        let content = script.files.remove(from).ok_or_else(not_found)?;
        script.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.script().files.remove(path).map(drop).ok_or_else(not_found)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(self.names())
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    content: Arc<Mutex<Content>>,
}

impl DiskFile for MemoryFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut script = self.disk.script();
        let mut content = self.content.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let grows = (offset + bytes.len()).saturating_sub(content.now.len());
        let fits = script.free.map_or(grows, |free| free.min(grows));
        if let Some(free) = &mut script.free {
            *free -= fits;
        }
        let written = bytes.len() - (grows - fits);
        let end = content.now.len().max(offset + written);
        content.now.resize(end, 0);
        content.now[offset..offset + written].copy_from_slice(&bytes[..written]);
        if written < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut script = self.disk.script();
        if script.syncs_to_hang > 0 {
            script.syncs_to_hang -= 1;
            script = self.disk.hang(script);
        }
        if script.syncs_to_fail > 0 {
            script.syncs_to_fail -= 1;
            return Err(io::Error::other("input/output error"));
        }
        script.syncs += 1;
        let mut content = self.content.lock().unwrap();
        content.synced = content.now.clone();
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut script = self.disk.script();
        if script.reads_to_fail > 0 {
            script.reads_to_fail -= 1;
            return Err(io::Error::other("input/output error"));
        }
        let content = self.content.lock().unwrap();
        let rest = content.now.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().now.len() as u64)
    }
}
