//! Secrets: where they are read from, and URLs that hold one. Nothing here prints them.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Sources;
use super::document::Kind;

/// The largest file read for a secret, in bytes.
const MAX_SECRET_FILE: u64 = 64 * 1024;

const FORMS: &str = "write a string, { file = \"/path\" } or { env = \"NAME\" }";

/// What stands in place of a password.
const HIDDEN: &str = "***";

/// A secret that was looked up.
pub(super) struct Resolved<'a> {
    /// `None`: not set.
    pub(super) secret: Option<SecretString>,
    /// The variable that was asked, if one was.
    pub(super) variable: Option<&'a str>,
}

/// Looks a secret up; relative files start at `folder`. The error is a message for people.
pub(super) fn resolve<'a>(kind: &'a Kind, sources: &Sources, folder: &Path) -> Result<Resolved<'a>, String> {
    let not_empty = |text: &str| (!text.is_empty()).then(|| SecretString::from(text));
    match kind {
        Kind::Text(text) => Ok(Resolved { secret: not_empty(text), variable: None }),
        Kind::Table(table) => match table.iter().next().map(|(form, value)| (form.as_str(), &value.kind)) {
            Some(("env", Kind::Text(name))) if table.len() == 1 => {
                let secret = sources.env.get(name).and_then(|text| not_empty(text));
                Ok(Resolved { secret, variable: Some(name) })
            }
            Some(("file", Kind::Text(path))) if table.len() == 1 => {
                read_file(&folder.join(path)).map(|secret| Resolved { secret: Some(secret), variable: None })
            }
            _ => Err(FORMS.to_owned()),
        },
        _ => Err(FORMS.to_owned()),
    }
}

fn read_file(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_SECRET_FILE + 1).read_to_string(&mut text));
    let length = read.map_err(|error| format!("the file {shown} cannot be read: {error}; mend or correct the path"))?;
    if length as u64 > MAX_SECRET_FILE {
        return Err(format!("the file {shown} is larger than {MAX_SECRET_FILE} bytes; put the secret alone into it"));
    }
    // Editors and `echo` end a file with a line break that belongs to no secret.
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("the file {shown} is empty; put the secret into it")),
        secret => Ok(SecretString::from(secret)),
    }
}

/// A URL that may hold a password: whole only through [`SecretUrl::expose`], printed without it.
#[derive(Clone)]
pub struct SecretUrl {
    whole: SecretString,
    shown: String,
}

impl SecretUrl {
    /// Takes a parsed URL.
    pub(super) fn new(url: &Url) -> Self {
        Self { whole: SecretString::from(url.as_str()), shown: redacted(url) }
    }

    /// The whole URL, password and all: for the client that connects with it.
    pub fn expose(&self) -> &str {
        self.whole.expose_secret()
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The URL with `***` for its password and for every parameter whose name speaks of one.
fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // A URL that cannot hold a password (`set_password` fails) holds none.
    if url.password().is_some() && shown.set_password(Some(HIDDEN)).is_err() {
        return format!("{}://{HIDDEN}", url.scheme());
    }
    if url.query().is_some() {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let mut query = shown.query_pairs_mut();
        query.clear();
        for (name, value) in &pairs {
            let hide = name.to_ascii_lowercase().contains("pass");
            query.append_pair(name, if hide { HIDDEN } else { value });
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_printed_without_its_password() {
        for (text, shown) in [
            ("postgres://me:s3cret@db/tally", "postgres://me:***@db/tally"),
            ("postgres:///tally?host=/run/pg&password=s3cret", "postgres:///tally?host=%2Frun%2Fpg&password=***"),
            ("smtp://me:s3cret@mail:587?tls=required", "smtp://me:***@mail:587?tls=required"),
            ("smtp://mail", "smtp://mail"),
        ] {
            let url = SecretUrl::new(&Url::parse(text).unwrap());
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(url.expose(), text);
        }
    }
}
