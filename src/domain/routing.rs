//! What a request asked of models and providers, against who answered.
//!
//! Judges only what a reply and its record show. Names are compared leniently: requests name providers by slug
//! (`google-vertex`), replies by display name (`Google`).

use serde_json::Value;

use super::scope::{names_any_model, without_suffix};

/// Who answered, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served<'a> {
    /// The provider, by its display name.
    pub provider: Option<&'a str>,
    /// Latency as OpenRouter reports it, in milliseconds.
    pub latency_ms: Option<i64>,
    /// Native completion tokens.
    pub tokens: Option<i64>,
    /// Generation time as OpenRouter reports it, in milliseconds.
    pub generation_time_ms: Option<i64>,
    /// The providers that were tried, in order; `None` until the record is read.
    pub tried: Option<&'a [Option<String>]>,
}

/// What became of a preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Who answered is whom it asked for.
    Kept,
    /// Who answered is not.
    None,
    /// Neither reply nor record shows it.
    Unknown,
}

/// One preference of a request, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// Its name in the request's `provider`.
    pub name: &'static str,
    /// What it asked for, as compact JSON.
    pub asked: String,
    /// Whether it held.
    pub effect: Effect,
    /// The same for people.
    pub says: String,
}

/// Slugs whose provider's display name is not the slug written otherwise.
const NAMES: [(&str, &str); 2] = [("google-vertex", "Google"), ("google-ai-studio", "Google AI Studio")];

/// Judges the preferences of a call; `routing` is `usage.routing`'s text, and one that is no JSON object asks nothing.
pub fn judge(routing: &str, served: &Served<'_>) -> Vec<Preference> {
    let Ok(Value::Object(asked)) = serde_json::from_str(routing) else { return Vec::new() };
    let add = |name: &'static str, judge: fn(&Value, &Served<'_>) -> (Effect, String)| {
        let value = asked.get(name).filter(|value| !value.is_null())?;
        let (effect, says) = judge(value, served);
        Some(Preference { name, asked: value.to_string(), effect, says })
    };
    [
        add("order", order),
        add("only", only),
        add("allow_fallbacks", allow_fallbacks),
        add("sort", sort),
        add("require_parameters", require_parameters),
        add("preferred_max_latency", max_latency),
        add("preferred_min_throughput", min_throughput),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn unknown(says: impl Into<String>) -> (Effect, String) {
    (Effect::Unknown, says.into())
}

const NOT_TOLD: &str = "Who served is not known yet.";

fn order(value: &Value, served: &Served<'_>) -> (Effect, String) {
    let names = names(value);
    let Some(provider) = served.provider else { return unknown(NOT_TOLD) };
    match names.iter().position(|name| is_provider(name, provider)) {
        _ if names.is_empty() => unknown("It names no provider."),
        Some(0) => (Effect::Kept, format!("{provider}, its first, served.")),
        Some(nth) => {
            (Effect::Kept, format!("{provider} served, number {} of the order; those before it did not.", nth + 1))
        }
        None => (
            Effect::None,
            format!(
                "{provider} served, which the order does not name: none of the named did, and fallbacks were allowed."
            ),
        ),
    }
}

fn only(value: &Value, served: &Served<'_>) -> (Effect, String) {
    let names = names(value);
    let Some(provider) = served.provider else { return unknown(NOT_TOLD) };
    if names.is_empty() {
        unknown("It names no provider.")
    } else if names.iter().any(|name| is_provider(name, provider)) {
        (Effect::Kept, format!("{provider} served, one of the allowed."))
    } else {
        (Effect::None, format!("{provider} served, which is not among the allowed."))
    }
}

fn allow_fallbacks(value: &Value, served: &Served<'_>) -> (Effect, String) {
    if value.as_bool() != Some(false) {
        return (Effect::Kept, "Other providers may answer, which is the default.".to_owned());
    }
    let Some(tried) = served.tried else {
        return unknown("Which providers were tried is in the record, not read yet.");
    };
    let mut providers: Vec<&str> = tried.iter().filter_map(Option::as_deref).collect();
    providers.dedup();
    match providers.as_slice() {
        [] => unknown("The record does not say who was tried."),
        [one] => (Effect::Kept, format!("Nobody but {one} was tried.")),
        more => (Effect::None, format!("Fallbacks were forbidden, and {} were tried.", more.join(", then "))),
    }
}

fn sort(value: &Value, _: &Served<'_>) -> (Effect, String) {
    let by = value.as_str().or_else(|| value.get("by").and_then(Value::as_str));
    match by {
        Some(by @ ("price" | "throughput" | "latency" | "exacto")) => {
            unknown(format!("Providers were to be tried by {by}; how the others stood then is in no reply."))
        }
        _ => (Effect::None, "OpenRouter knows price, throughput, latency and exacto to sort by.".to_owned()),
    }
}

fn require_parameters(value: &Value, _: &Served<'_>) -> (Effect, String) {
    match value.as_bool() {
        Some(true) => unknown("Which parameters a provider took is in no reply."),
        _ => (Effect::Kept, "Parameters that a provider does not know are dropped, which is the default.".to_owned()),
    }
}

/// Thresholds prefer by what providers did lately: one call beyond them says what it did, not that they took no effect.
fn max_latency(value: &Value, served: &Served<'_>) -> (Effect, String) {
    let Some(latency) = served.latency_ms else {
        return unknown("The call’s latency is in its record, not read yet.");
    };
    unknown(format!(
        "Asked for at most {} of the providers’ recent calls; this call’s was {}.{:03} s.",
        threshold(value, "s"),
        latency / 1_000,
        latency % 1_000
    ))
}

fn min_throughput(value: &Value, served: &Served<'_>) -> (Effect, String) {
    let (Some(tokens), Some(ms)) = (served.tokens, served.generation_time_ms.filter(|ms| *ms > 0)) else {
        return unknown("The call’s speed is in its record, not read yet.");
    };
    unknown(format!(
        "Asked for at least {} of the providers’ recent calls; this call’s was {} tokens/s.",
        threshold(value, "tokens/s"),
        tokens.saturating_mul(1_000) / ms
    ))
}

fn threshold(value: &Value, unit: &str) -> String {
    match value {
        Value::Object(percentiles) => {
            let texts: Vec<String> =
                percentiles.iter().map(|(name, value)| format!("{value} {unit} at {name}")).collect();
            texts.join(", ")
        }
        other => format!("{other} {unit}"),
    }
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Whether `asked`, a slug or a display name, is the provider with this display name.
fn is_provider(asked: &str, served: &str) -> bool {
    // `deepinfra/turbo` is one endpoint of a provider.
    let asked = asked.split('/').next().unwrap_or(asked).trim();
    if let Some((_, name)) = NAMES.iter().find(|(slug, _)| slug.eq_ignore_ascii_case(asked)) {
        return name.eq_ignore_ascii_case(served);
    }
    let (asked, served) = (letters(asked), letters(served));
    // `moonshotai` is Moonshot AI, `together` is Together and was Together AI.
    !asked.is_empty()
        && (asked == served || asked.starts_with(&served) || served.starts_with(&asked))
        && !served.is_empty()
}

fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether `served` is another model than `asked`, the first choice; `listed` are all that the request named.
///
/// A dated name of one author is taken for the model itself, as permaslugs turn names round
/// (`claude-4-sonnet-20250522` is `claude-sonnet-4`).
pub fn answered_by_another(asked: &str, listed: &[String], served: &str) -> bool {
    if names_any_model(asked) || is_model(asked, served) {
        return false;
    }
    listed.iter().any(|model| is_model(model, served)) || author(asked) != author(served) || !is_dated(served)
}

fn is_model(asked: &str, served: &str) -> bool {
    let (asked, served) = (without_suffix(asked), without_suffix(served));
    let (asked, served) = if asked.contains('/') { (asked, served) } else { (asked, last_part(served)) };
    served.strip_prefix(asked).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('-').is_some_and(|date| date.starts_with(|c: char| c.is_ascii_digit()))
    })
}

fn author(model: &str) -> &str {
    model.split_once('/').map_or("", |(author, _)| author)
}

fn last_part(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

/// Whether the name ends in a date: `-20250522`, `-2024-07-18`, `-0324`.
fn is_dated(model: &str) -> bool {
    let tail = without_suffix(model).rsplit('-').next().unwrap_or_default();
    tail.len() >= 2 && tail.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_model_is_told_from_the_same_by_another_name() {
        let listed = ["deepseek/deepseek-chat".to_owned(), "openai/gpt-4o-mini".to_owned()];
        for (asked, served, another) in [
            ("openai/gpt-4o-mini", "openai/gpt-4o-mini", false),
            ("openai/gpt-4o-mini:nitro", "openai/gpt-4o-mini-2024-07-18", false),
            ("gpt-4o-mini", "openai/gpt-4o-mini", false),
            ("anthropic/claude-sonnet-4", "anthropic/claude-4-sonnet-20250522", false),
            ("openai/gpt-4o", "openai/gpt-4o-mini", true),
            ("deepseek/deepseek-chat", "openai/gpt-4o-mini-2024-07-18", true),
            ("openrouter/auto", "openai/gpt-4o-mini", false),
            ("@preset/mine", "openai/gpt-4o-mini", false),
            ("~openai/gpt-latest", "openai/gpt-5", false),
        ] {
            assert_eq!(answered_by_another(asked, &listed, served), another, "{asked} {served}");
        }
    }

    #[test]
    fn providers_are_known_by_slug_and_by_name() {
        for (asked, served, same) in [
            ("amazon-bedrock", "Amazon Bedrock", true),
            ("deepinfra/turbo", "DeepInfra", true),
            ("OpenAI", "OpenAI", true),
            ("google-vertex", "Google", true),
            ("google-vertex", "Google AI Studio", false),
            ("google-ai-studio", "Google", false),
            ("moonshotai", "Moonshot AI", true),
            ("openai", "Azure", false),
            ("", "Azure", false),
        ] {
            assert_eq!(is_provider(asked, served), same, "{asked} {served}");
        }
    }

    #[test]
    fn a_preference_without_effect_is_told_apart_from_one_that_nobody_can_judge() {
        let tried = [Some("Azure".to_owned()), Some("OpenAI".to_owned())];
        let served =
            Served { provider: Some("Azure"), latency_ms: Some(2_040), tried: Some(&tried), ..Served::default() };
        let effects = |routing: &str| {
            judge(routing, &served).into_iter().map(|judged| (judged.name, judged.effect)).collect::<Vec<_>>()
        };
        assert_eq!(effects(r#"{"order":["openai","azure"]}"#), [("order", Effect::Kept)]);
        assert_eq!(
            effects(r#"{"order":["openai"],"only":["azure"]}"#),
            [("order", Effect::None), ("only", Effect::Kept)]
        );
        assert_eq!(effects(r#"{"only":["openai"]}"#), [("only", Effect::None)]);
        assert_eq!(effects(r#"{"allow_fallbacks":false}"#), [("allow_fallbacks", Effect::None)]);
        assert_eq!(effects(r#"{"allow_fallbacks":true}"#), [("allow_fallbacks", Effect::Kept)]);
        assert_eq!(
            effects(r#"{"sort":"price","require_parameters":true}"#),
            [("sort", Effect::Unknown), ("require_parameters", Effect::Unknown)]
        );
        assert_eq!(effects(r#"{"sort":"cheapest"}"#), [("sort", Effect::None)]);
        let latency = judge(r#"{"preferred_max_latency":{"p50":1.5}}"#, &served).remove(0);
        assert_eq!(latency.effect, Effect::Unknown);
        assert!(latency.says.contains("1.5 s at p50") && latency.says.contains("2.040 s"), "{}", latency.says);
        assert_eq!(judge(r#"{"only":["openai"]}"#, &Served::default())[0].effect, Effect::Unknown);
        assert_eq!(judge("nonsense", &served), []);
    }
}
