//! `[log]`: how much is logged, and in what form.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::reader::{Read, Reader};

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// The settings of `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// In `EnvFilter`'s syntax; it has been parsed once.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
}

impl Log {
    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let formats = [("auto", LogFormat::Auto), ("human", LogFormat::Human), ("json", LogFormat::Json)];
        Ok(Self { level: reader.parsed("log.level", parse_level)?, format: reader.choice("log.format", &formats)? })
    }
}

fn parse_level(text: &str) -> Result<String, String> {
    let remedy = "write error, warn, info, debug or trace, or parts: \"info,tallyd::settle=debug\"";
    // `EnvFilter` takes a bare word that is no level for a module's name and falls silent: "inof" would log nothing.
    let stray = text.split(',').map(str::trim).find(|directive| {
        let bare = !directive.contains(['=', '[']);
        bare && directive.parse::<LevelFilter>().is_err()
    });
    if let Some(stray) = stray {
        return Err(format!("{stray:?} is no level; {remedy}"));
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is no filter ({error}); {remedy}")),
    }
}
