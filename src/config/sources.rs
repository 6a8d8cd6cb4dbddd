//! What a configuration is made from, passed in: flags, environment, folders. Only
//! [`Sources::of_process`] asks the process for them.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use super::error::ConfigError;
use super::layers::CONFIG_VARIABLE;

/// The largest configuration file read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The file's name in the working directory and in the configuration folders.
const FILE_NAME: &str = "tallyd.toml";

/// Where a machine's own configuration stands.
const SYSTEM_FILE: &str = "/etc/tallyd/tallyd.toml";

/// What the command line says; each `None` leaves the setting to the layers below.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--listen ADDRESS`.
    pub listen: Option<String>,
    /// `--database-url URL`; it may hold a password.
    pub database_url: Option<SecretString>,
    /// `--log-level LEVEL`.
    pub log_level: Option<String>,
}

impl Flags {
    /// The flags that are given and set a setting: flag, setting, text.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
        let database_url = self.database_url.as_ref().map(SecretString::expose_secret);
        [
            ("--listen", "listen", self.listen.as_deref()),
            ("--database-url", "database_url", database_url),
            ("--log-level", "log.level", self.log_level.as_deref()),
        ]
        .into_iter()
        .filter_map(|(flag, key, text)| Some((flag, key, text?)))
    }
}

/// Everything a configuration is made from. It holds secrets: it has no `Debug`.
#[derive(Clone)]
pub struct Sources {
    /// The command line.
    pub flags: Flags,
    /// The environment's variables.
    pub env: BTreeMap<String, String>,
    /// The folder the program was started in.
    pub cwd: PathBuf,
    /// The machine's own configuration, looked for last; `None` looks for none.
    pub system_file: Option<PathBuf>,
    /// This machine's host name, for the sender of mails and for links.
    pub hostname: String,
}

impl Sources {
    /// This process's own surroundings.
    pub fn of_process(flags: Flags) -> io::Result<Self> {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        Ok(Self {
            flags,
            env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            cwd: std::env::current_dir()?,
            system_file: Some(PathBuf::from(SYSTEM_FILE)),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        })
    }

    /// Nothing but a folder: the defaults, whatever the process's environment holds.
    pub fn bare(cwd: impl Into<PathBuf>) -> Self {
        Self {
            flags: Flags::default(),
            env: BTreeMap::new(),
            cwd: cwd.into(),
            system_file: None,
            hostname: "localhost".to_owned(),
        }
    }

    /// The folder for data: `$XDG_DATA_HOME`, else `~/.local/share`; `None` where neither is known.
    pub(super) fn data_home(&self) -> Option<PathBuf> {
        self.xdg("XDG_DATA_HOME", ".local/share")
    }

    /// A folder of the XDG base directory specification, which has relative paths ignored.
    fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let absolute = |name: &str| self.env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))
    }

    /// Finds and reads the configuration file; `None` where there is none and none was named.
    pub(super) fn read_file(&self) -> Result<Option<(Arc<Path>, String)>, ConfigError> {
        let variable = self.env.get(CONFIG_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let named = match (&self.flags.config, variable) {
            (Some(path), _) => Some((path.clone(), "--config")),
            (None, Some(path)) => Some((path, CONFIG_VARIABLE)),
            (None, None) => None,
        };
        if let Some((path, named_by)) = named {
            return match self.read(&path)? {
                Some(text) => Ok(Some((Arc::from(path), text))),
                None => Err(ConfigError::Missing { path, named_by }),
            };
        }
        let in_config_home = self.xdg("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("tallyd").join(FILE_NAME));
        let places = [Some(PathBuf::from(FILE_NAME)), in_config_home, self.system_file.clone()];
        for path in places.into_iter().flatten() {
            if let Some(text) = self.read(&path)? {
                return Ok(Some((Arc::from(path), text)));
            }
        }
        Ok(None)
    }

    /// The text of one file; `None` when it is not there.
    fn read(&self, path: &Path) -> Result<Option<String>, ConfigError> {
        let file = match std::fs::File::open(self.cwd.join(path)) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        let mut text = String::new();
        match file.take(MAX_FILE + 1).read_to_string(&mut text) {
            Ok(length) if length as u64 > MAX_FILE => {
                Err(ConfigError::TooLarge { path: path.to_owned(), limit: MAX_FILE })
            }
            Ok(_) => Ok(Some(text)),
            Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        }
    }
}
