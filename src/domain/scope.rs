//! What a budget looks at: globs over a call's attribution, model and provider; all that are given must match.
//!
//! A row is matched by what is known of it ([`Scope::matches`]); a call that is to be admitted is
//! matched by what it may become ([`Scope::may_match`]), so that a blocking budget errs towards matching.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wildmatch::WildMatch;

use super::attribution::{MAX_LABEL, MAX_TAGS};

/// Why a text is not a glob, or a scope can never match.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// An empty glob would match only an empty value, and none is ever stored.
    #[error("an empty pattern matches nothing; write \"*\" for any value, or leave the field out")]
    Empty,
    /// The glob is longer than any value that is kept.
    #[error("a pattern is at most {MAX_LABEL} bytes long")]
    TooLong,
    /// Control characters become spaces when attribution is stored, so such a glob could never match.
    #[error("a pattern holds no control characters")]
    Control,
    /// The model glob names what is asked for; the scope looks at what answered.
    #[error(
        "model = \"{0}\" can never match: a scope looks at the model that answered, without suffix such as :free; write the model itself, such as \"openai/gpt-4o\""
    )]
    NotAnAnsweringModel(Glob),
    /// More tags than a call can carry.
    #[error("a scope names at most {MAX_TAGS} tags")]
    TooManyTags,
    /// A tag name that no call can carry.
    #[error("a tag's name is 1 to {MAX_LABEL} bytes long")]
    TagName,
}

/// A pattern for a whole value: `*` stands for any characters or none, `?` for exactly one; case counts.
///
/// Two globs are the same when their texts are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob {
    text: String,
    matcher: WildMatch,
}

impl Glob {
    /// The pattern's own text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of `value` matches.
    pub fn matches(&self, value: &str) -> bool {
        self.matcher.matches(value)
    }
}

impl FromStr for Glob {
    type Err = ScopeError;
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text.is_empty() {
            return Err(ScopeError::Empty);
        }
        if text.len() > MAX_LABEL {
            return Err(ScopeError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(ScopeError::Control);
        }
        Ok(Self { text: text.to_owned(), matcher: WildMatch::new(text) })
    }
}

impl TryFrom<String> for Glob {
    type Error = ScopeError;
    fn try_from(text: String) -> Result<Self, ScopeError> {
        text.parse()
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.text
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl Hash for Glob {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which calls a budget counts: those for which every given field matches. Nothing given: all calls.
///
/// A field that is given never matches a call that lacks it: `app = "*"` counts the calls that name any app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub app: Option<Glob>,
    /// The key's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub key: Option<Glob>,
    /// The end user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user: Option<Glob>,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub session: Option<Glob>,
    /// The model that answered, without suffix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub model: Option<Glob>,
    /// The provider that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub provider: Option<Glob>,
    /// Tags by name; written `tag.NAME`.
    #[serde(default, rename = "tag", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub tags: BTreeMap<String, Glob>,
}

/// What a row of the ledger shows of itself; `None` is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The application.
    pub app: Option<&'a str>,
    /// The key's name.
    pub key_name: Option<&'a str>,
    /// The end user.
    pub end_user: Option<&'a str>,
    /// The session.
    pub session: Option<&'a str>,
    /// The model ID the reply named.
    pub reply_model: Option<&'a str>,
    /// The permaslug the generation record named.
    pub permaslug: Option<&'a str>,
    /// The provider that answered.
    pub provider: Option<&'a str>,
    /// The tags.
    pub tags: &'a BTreeMap<String, String>,
}

/// What a call shows before it is sent.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionSubject<'a> {
    /// The application.
    pub app: Option<&'a str>,
    /// The key's name.
    pub key_name: Option<&'a str>,
    /// The end user: by key label or header, else by the body.
    pub end_user: Option<&'a str>,
    /// The session: by key label or header, else by the body.
    pub session: Option<&'a str>,
    /// The body's `model`, or the preset that the path names.
    pub model: Option<&'a str>,
    /// The body's `models`: the fallbacks, of which any may answer.
    pub models: &'a [String],
    /// `models` holds more than was read: any model may answer.
    pub models_unread: bool,
    /// The tags: by key label or header, else by the body.
    pub tags: &'a BTreeMap<String, String>,
    /// The body was not read (too large, multipart): what it may have named is unknown.
    pub opaque_body: bool,
}

impl Scope {
    /// Whether a row counts. A model scope matches the reply's ID or the record's permaslug, each without suffix.
    pub fn matches(&self, row: &Subject<'_>) -> bool {
        field(self.app.as_ref(), row.app)
            && field(self.key.as_ref(), row.key_name)
            && field(self.user.as_ref(), row.end_user)
            && field(self.session.as_ref(), row.session)
            && field(self.provider.as_ref(), row.provider)
            && self.model.as_ref().is_none_or(|glob| {
                [row.reply_model, row.permaslug].into_iter().flatten().any(|model| glob.matches(without_suffix(model)))
            })
            && self.tags.iter().all(|(name, glob)| field(Some(glob), row.tags.get(name).map(String::as_str)))
    }

    /// Whether a call, once answered, may count.
    ///
    /// Routers, presets and aliases may become any model, and so may a call that names none; a body
    /// that was not read may hold any user, session, tag and model. The provider is never known
    /// before the answer, so it restricts nothing.
    pub fn may_match(&self, call: &AdmissionSubject<'_>) -> bool {
        let from_body =
            |glob: Option<&Glob>, value: Option<&str>| (value.is_none() && call.opaque_body) || field(glob, value);
        field(self.app.as_ref(), call.app)
            && field(self.key.as_ref(), call.key_name)
            && from_body(self.user.as_ref(), call.end_user)
            && from_body(self.session.as_ref(), call.session)
            && self.model.as_ref().is_none_or(|glob| call.may_be(glob))
            && self.tags.iter().all(|(name, glob)| from_body(Some(glob), call.tags.get(name).map(String::as_str)))
    }

    /// Whether nothing is given: all calls count.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses a scope that can never match any row.
    pub fn check(&self) -> Result<(), ScopeError> {
        if let Some(model) = &self.model
            && (model.as_str().contains([':', '@']) || model.as_str().starts_with('~'))
        {
            return Err(ScopeError::NotAnAnsweringModel(model.clone()));
        }
        if self.tags.len() > MAX_TAGS {
            return Err(ScopeError::TooManyTags);
        }
        if self.tags.keys().any(|name| name.is_empty() || name.len() > MAX_LABEL) {
            return Err(ScopeError::TagName);
        }
        Ok(())
    }
}

impl<'a> AdmissionSubject<'a> {
    /// Whether a model that `glob` matches may answer this call.
    fn may_be(&self, glob: &Glob) -> bool {
        self.models_that_may_answer().is_none_or(|mut models| models.any(|model| glob.matches(model)))
    }

    /// The models of which one will answer, without suffix; `None` where any may.
    pub fn models_that_may_answer(&self) -> Option<impl Iterator<Item = &'a str>> {
        let asked = self.model.into_iter().chain(self.models.iter().map(String::as_str));
        let any = self.opaque_body
            || self.models_unread
            || (self.model.is_none() && self.models.is_empty())
            || asked.clone().any(names_any_model);
        (!any).then(|| asked.map(without_suffix))
    }
}

fn field(glob: Option<&Glob>, value: Option<&str>) -> bool {
    glob.is_none_or(|glob| value.is_some_and(|value| glob.matches(value)))
}

/// A model ID without its suffix (`:free`, `:nitro`, `:online`, …); IDs themselves hold no colon.
pub(super) fn without_suffix(model: &str) -> &str {
    model.split_once(':').map_or(model, |(id, _)| id)
}

/// Whether OpenRouter chooses what answers: its routers, presets (alone or after a model) and aliases.
pub(super) fn names_any_model(model: &str) -> bool {
    model.starts_with("openrouter/") || model.contains("@preset") || model.starts_with('~')
}

impl fmt::Display for Scope {
    /// `app = growth-bot, model = anthropic/*`, or `all calls`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = [
            ("app", &self.app),
            ("key", &self.key),
            ("user", &self.user),
            ("session", &self.session),
            ("model", &self.model),
            ("provider", &self.provider),
        ];
        let fields = given.into_iter().filter_map(|(name, glob)| glob.as_ref().map(|glob| (name, "", glob)));
        let tags = self.tags.iter().map(|(name, glob)| ("tag.", name.as_str(), glob));
        let mut separator = "";
        for (prefix, name, glob) in fields.chain(tags) {
            write!(f, "{separator}{prefix}{name} = {glob}")?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("all calls") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(json: &str) -> Scope {
        serde_json::from_str(json).unwrap()
    }

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn row(tags: &BTreeMap<String, String>) -> Subject<'_> {
        Subject {
            app: Some("growth-bot"),
            key_name: Some("default"),
            end_user: None,
            session: Some("s-1"),
            reply_model: Some("openai/gpt-4o-mini"),
            permaslug: Some("openai/gpt-4o-mini-2024-07-18"),
            provider: Some("Azure"),
            tags,
        }
    }

    fn call<'a>(
        model: Option<&'a str>,
        models: &'a [String],
        tags: &'a BTreeMap<String, String>,
    ) -> AdmissionSubject<'a> {
        AdmissionSubject {
            app: Some("growth-bot"),
            key_name: Some("default"),
            end_user: None,
            session: None,
            model,
            models,
            models_unread: false,
            tags,
            opaque_body: false,
        }
    }

    #[test]
    fn every_given_field_must_match_and_an_unknown_one_never_does() {
        let tags = tags(&[("team", "search")]);
        let row = row(&tags);
        for (json, matches) in [
            ("{}", true),
            (r#"{"app":"growth-*"}"#, true),
            (r#"{"app":"Growth-*"}"#, false),
            (r#"{"app":"growth-bot","key":"other"}"#, false),
            (r#"{"user":"*"}"#, false),
            (r#"{"session":"s-?"}"#, true),
            (r#"{"provider":"azure"}"#, false),
            (r#"{"provider":"Azure","tag":{"team":"search"}}"#, true),
            (r#"{"tag":{"team":"s*","env":"*"}}"#, false),
        ] {
            assert_eq!(scope(json).matches(&row), matches, "{json}");
        }
    }

    #[test]
    fn a_model_scope_matches_the_replys_id_or_the_permaslug_without_suffix() {
        let tags = tags(&[]);
        let matches = |glob: &str, reply_model, permaslug| {
            let scope = Scope { model: Some(glob.parse().unwrap()), ..Scope::default() };
            scope.matches(&Subject { reply_model, permaslug, ..row(&tags) })
        };
        let (id, slug) = (Some("openai/gpt-4o-mini:free"), Some("openai/gpt-4o-mini-2024-07-18"));
        assert!(matches("openai/gpt-4o-mini", id, None));
        assert!(matches("openai/gpt-4o-mini", id, slug));
        assert!(matches("openai/gpt-4o-mini-2024-07-18", id, slug));
        assert!(matches("openai/gpt-4o-mini-2024-07-18", None, slug));
        assert!(!matches("OpenAI/*", id, slug));
        assert!(!matches("*", None, None));
    }

    #[test]
    fn whatever_may_answer_is_looked_at_before_a_call_is_sent() {
        let tags = tags(&[]);
        let claude = scope(r#"{"model":"anthropic/*"}"#);
        let fallbacks = ["meta-llama/llama-3.3-70b-instruct".to_owned(), "anthropic/claude-sonnet-4".to_owned()];
        assert!(!claude.may_match(&call(Some("openai/gpt-4o"), &[], &tags)));
        assert!(claude.may_match(&call(Some("openai/gpt-4o"), &fallbacks, &tags)));
        assert!(!claude.may_match(&call(None, &fallbacks[..1], &tags)));
        for any in [
            "openrouter/auto",
            "openrouter/pareto:nitro",
            "@preset/careful",
            "openai/gpt-4o@preset/careful",
            "~google/gemini-flash-latest",
            "anthropic/claude-sonnet-4:nitro",
        ] {
            assert!(claude.may_match(&call(Some(any), &[], &tags)), "{any}");
        }
        let unread = AdmissionSubject { models_unread: true, ..call(Some("openai/gpt-4o"), &[], &tags) };
        assert!(claude.may_match(&unread), "a fallback that was not read may be any");
        assert!(!scope(r#"{"user":"u"}"#).may_match(&unread), "the rest of the body was read");
        assert!(claude.may_match(&call(None, &[], &tags)), "the account's default model may be any");
    }

    #[test]
    fn an_unread_body_may_hold_anything_but_what_is_known_beside_it() {
        let (none, team) = (tags(&[]), tags(&[("team", "search")]));
        let opaque = AdmissionSubject { opaque_body: true, ..call(None, &[], &none) };
        let scoped = |json| scope(json).may_match(&opaque);
        assert!(scoped(r#"{"user":"u","session":"s","model":"m","provider":"p","tag":{"team":"ads"}}"#));
        assert!(!scoped(r#"{"app":"other"}"#), "the app comes from headers");
        assert!(!scoped(r#"{"key":"other"}"#));
        let labelled = AdmissionSubject { end_user: Some("lena"), tags: &team, ..opaque };
        assert!(!scope(r#"{"user":"u"}"#).may_match(&labelled), "a header is stronger than the body");
        assert!(!scope(r#"{"tag":{"team":"ads"}}"#).may_match(&labelled));
        assert!(scope(r#"{"tag":{"env":"prod"}}"#).may_match(&labelled));
        let read = AdmissionSubject { opaque_body: false, model: Some("m"), ..opaque };
        assert!(!scope(r#"{"user":"u"}"#).may_match(&read));
        assert!(scope(r#"{"provider":"Azure"}"#).may_match(&read), "who will answer is not known yet");
    }

    #[test]
    fn a_scope_reads_as_it_is_written() {
        let full = r#"{"app":"a*","model":"anthropic/*","provider":"p","tag":{"env":"prod","team":"x"}}"#;
        assert_eq!(serde_json::to_string(&scope(full)).unwrap(), full);
        assert_eq!(
            scope(full).to_string(),
            "app = a*, model = anthropic/*, provider = p, tag.env = prod, tag.team = x"
        );
        assert_eq!(scope("{}").to_string(), "all calls");
        assert!(scope("{}").is_everything());
        assert_ne!("a**".parse::<Glob>(), "a*".parse());
        assert!(serde_json::from_str::<Scope>(r#"{"modle":"x"}"#).unwrap_err().to_string().contains("modle"));
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for model in ["openai/gpt-4o:free", "@preset/careful", "~openai/gpt-latest"] {
            let scope = Scope { model: Some(model.parse().unwrap()), ..Scope::default() };
            assert!(matches!(scope.check(), Err(ScopeError::NotAnAnsweringModel(_))), "{model}");
        }
        assert_eq!("".parse::<Glob>(), Err(ScopeError::Empty));
        assert_eq!("a\nb".parse::<Glob>(), Err(ScopeError::Control));
        assert_eq!("a".repeat(MAX_LABEL + 1).parse::<Glob>(), Err(ScopeError::TooLong));
        let tags = (0..=MAX_TAGS).map(|n| (format!("t{n}"), "*".parse().unwrap())).collect();
        assert_eq!(Scope { tags, ..Scope::default() }.check(), Err(ScopeError::TooManyTags));
        assert_eq!(scope(r#"{"tag":{"":"*"}}"#).check(), Err(ScopeError::TagName));
    }
}
