//! `[webhooks.NAME]`: where `notify = ["webhook:NAME"]` leads.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use url::Url;

use super::budgets::Entry;
use super::document::{Kind, Table, Value};
use super::general::is_loopback_host;
use super::reader::{Noted, Read, Reader};

/// What stands in a webhook, in the order of the example.
const FIELDS: [&str; 3] = ["url", "form", "secret"];

/// What a secret of Standard Webhooks starts with.
const SECRET_PREFIX: &str = "whsec_";

/// Most webhooks one file may hold.
const MAX_WEBHOOKS: usize = 100;

/// What a webhook is told in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookForm {
    /// The event as JSON, signed after Standard Webhooks.
    #[default]
    Generic,
    /// A message of Slack's incoming webhooks.
    Slack,
    /// A message of Discord's.
    Discord,
}

/// One webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Where it leads: https, or http on this machine. A secret, as those of Slack and Discord let everybody write.
    pub url: SecretString,
    /// What it is told in.
    pub form: WebhookForm,
    /// What the generic form is signed with, decoded; `None` for the others.
    pub secret: Option<SecretSlice<u8>>,
}

/// The webhooks, by name.
pub(super) fn read(reader: &mut Reader<'_>) -> Read<BTreeMap<String, Webhook>> {
    let mut webhooks = BTreeMap::new();
    let mut failed = false;
    let named = reader.named("webhooks");
    if let Some((_, key)) = named.get(MAX_WEBHOOKS) {
        return reader.wrong_setting(key, format!("a file holds at most {MAX_WEBHOOKS} webhooks"));
    }
    for (name, key) in named {
        match read_one(reader, &key) {
            Ok(webhook) => drop(webhooks.insert(name, webhook)),
            Err(Noted) => failed = true,
        }
    }
    if failed { Err(Noted) } else { Ok(webhooks) }
}

fn read_one(reader: &mut Reader<'_>, key: &str) -> Read<Webhook> {
    let Some(value) = reader.written(key) else {
        return reader.wrong_setting(key, "is not set");
    };
    let Kind::Table(table) = &value.kind else {
        return reader.wrong(&value.origin, key, format!("write its url under a line [{key}]"));
    };
    let known = Entry { reader, place: key }.known_fields(table, &FIELDS);
    let form = Entry { reader, place: key }.optional(table, "form", parse_form);
    let url = url(reader, key, value, table);
    let secret = secret(reader, key, table);
    known?;
    let (form, url, secret) = (form?.unwrap_or_default(), url?, secret?);
    match (form, &secret) {
        (WebhookForm::Generic, None) => {
            let message = "the generic form is signed: write secret = \"whsec_…\", where … is what \
                           `openssl rand -base64 32` prints, and give the receiver the same";
            reader.wrong(&value.origin, &format!("{key}.secret"), message)
        }
        (WebhookForm::Slack | WebhookForm::Discord, Some(_)) => {
            let message = "only the generic form is signed; remove the secret";
            reader.wrong(&value.origin, &format!("{key}.secret"), message)
        }
        _ => Ok(Webhook { url, form, secret }),
    }
}

fn parse_form(text: &str) -> Result<WebhookForm, String> {
    match text {
        "generic" => Ok(WebhookForm::Generic),
        "slack" => Ok(WebhookForm::Slack),
        "discord" => Ok(WebhookForm::Discord),
        _ => Err(format!("{text:?} is not known here; write \"generic\" or \"slack\" or \"discord\"")),
    }
}

fn url(reader: &mut Reader<'_>, key: &str, webhook: &Value, table: &Table) -> Read<SecretString> {
    let place = format!("{key}.url");
    let missing =
        "is missing; write url = \"https://…\", or { env = \"NAME\" } or { file = \"/path\" }, as it is a secret";
    let Some(value) = table.get("url") else { return reader.wrong(&webhook.origin, &place, missing) };
    let Some(text) = reader.secret_of(&place, value)? else { return reader.wrong(&value.origin, &place, missing) };
    match check_url(text.expose_secret()) {
        Ok(()) => Ok(text),
        Err(message) => reader.wrong(&value.origin, &place, message),
    }
}

/// The error is a message; it quotes nothing of the URL.
fn check_url(text: &str) -> Result<(), String> {
    const FORM: &str = "write the whole address, such as \"https://hooks.example.com/tallyd\"";
    let url = Url::parse(text).map_err(|error| format!("this URL is malformed ({error}); {FORM}"))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback_host(&url) => {}
        "http" => return Err("what a webhook is told would travel readable; use https".to_owned()),
        _ => return Err(format!("this is no URL of a webhook; {FORM}")),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("this URL names no host; {FORM}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("a user or password has no place here; {FORM}"));
    }
    Ok(())
}

fn secret(reader: &mut Reader<'_>, key: &str, table: &Table) -> Read<Option<SecretSlice<u8>>> {
    let Some(value) = table.get("secret") else { return Ok(None) };
    let place = format!("{key}.secret");
    let Some(text) = reader.secret_of(&place, value)? else { return Ok(None) };
    let decoded = text.expose_secret().strip_prefix(SECRET_PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
    if let Some(bytes) = decoded.filter(|bytes| (24..=64).contains(&bytes.len())) {
        return Ok(Some(bytes.into()));
    }
    let message = "this is no secret of Standard Webhooks: write whsec_ and 24 to 64 bytes in base64, such as those that \
                   `openssl rand -base64 32` prints";
    reader.wrong(&value.origin, &place, message)
}
