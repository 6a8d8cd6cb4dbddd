//! Completions as files: read page by page, written in one of four forms, in the memory of a page.
//!
//! [`rows`] reads, an [`Encoder`] turns rows into bytes, and whoever drives both decides where the bytes go.

mod focus;
mod parquet;
pub mod rows;

use std::io;

use super::output::{defused, io_error};
use super::usage::{COLUMNS, Row};
use crate::domain::call::Call;

pub use self::focus::VERSION as FOCUS_VERSION;

/// The forms of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Comma-separated values with the columns of `usage`; cells that a spreadsheet would run are defused.
    #[default]
    Csv,
    /// One JSON object a line, as the API tells a completion.
    Ndjson,
    /// The FinOps Open Cost and Usage Specification: CSV of what was charged.
    Focus,
    /// Apache Parquet with the columns of `usage`, compressed with zstd.
    Parquet,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Ndjson, Self::Focus, Self::Parquet];

    /// What it is called in addresses and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Focus => "focus",
            Self::Parquet => "parquet",
        }
    }

    /// The name under which a browser saves it.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Csv => "tallyd-completions.csv",
            Self::Ndjson => "tallyd-completions.ndjson",
            Self::Focus => "tallyd-focus.csv",
            Self::Parquet => "tallyd-completions.parquet",
        }
    }

    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Csv | Self::Focus => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// How many rows went where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Completions that were read.
    pub read: u64,
    /// Those of them that are not in the file because their cost is not known (FOCUS has no unknown cost).
    pub unknown: u64,
    /// Those that are not in it because they failed and nothing was charged (FOCUS lists charges).
    pub failed: u64,
}

/// Turns rows into the bytes of a file, as they come. Its memory is that of the rows it was given last; of Parquet, of one
/// row group.
#[derive(Debug)]
pub struct Encoder {
    form: Form,
    counts: Counts,
    /// Whether the head line is written.
    begun: bool,
    parquet: Option<parquet::Writer>,
}

impl Encoder {
    /// An empty file of that form.
    pub fn new(form: Form) -> io::Result<Self> {
        let parquet = (form == Form::Parquet).then(parquet::Writer::new).transpose()?;
        Ok(Self { form, counts: Counts::default(), begun: false, parquet })
    }

    /// How many rows it was given.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes rows; returns the bytes that follow those before.
    pub fn write(&mut self, rows: &[Call]) -> io::Result<Vec<u8>> {
        self.counts.read += rows.len() as u64;
        if let Some(parquet) = &mut self.parquet {
            return parquet.write(rows);
        }
        if self.form == Form::Ndjson {
            let mut bytes = Vec::new();
            for call in rows {
                serde_json::to_writer(&mut bytes, &Row(call))?;
                bytes.push(b'\n');
            }
            return Ok(bytes);
        }
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        if !self.begun {
            self.begun = true;
            let names: Vec<&str> = match self.form {
                Form::Focus => focus::COLUMNS.iter().map(|column| column.name).collect(),
                Form::Csv | Form::Ndjson | Form::Parquet => COLUMNS.iter().map(|column| column.name).collect(),
            };
            writer.write_record(names).map_err(io_error)?;
        }
        for call in rows {
            if self.form == Form::Focus {
                focus::write(call, &mut self.counts, |cells| {
                    writer.write_record(cells.iter().map(|cell| cell.as_bytes())).map_err(io_error)
                })?;
                continue;
            }
            for column in COLUMNS {
                match column.of(call) {
                    None => writer.write_field("").map_err(io_error)?,
                    Some(value) if value.is_text() => {
                        writer.write_field(defused(&value.plain())).map_err(io_error)?;
                    }
                    Some(value) => writer.write_field(&*value.plain()).map_err(io_error)?,
                }
            }
            writer.write_record(None::<&[u8]>).map_err(io_error)?;
        }
        writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
    }

    /// Ends the file; returns the bytes that are left.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        if let Some(parquet) = self.parquet.take() {
            return parquet.finish();
        }
        // A file of no rows has its head line nonetheless.
        if self.begun { Ok(Vec::new()) } else { self.write(&[]) }
    }
}
