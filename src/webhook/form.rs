//! Bodies: the event itself, or what Slack and Discord show of it.

use serde_json::json;

use super::error::SendError;
use super::event::{Event, Told};
use crate::config::WebhookForm;

/// Characters of a summary that Slack and Discord are given; Slack takes 3,000 in a section, Discord 4,096.
const MAX_SUMMARY: usize = 2_500;

/// Characters of a title; Discord takes 256.
const MAX_TITLE: usize = 250;

/// The body that tells `event`, a JSON text, in `form`.
pub(super) fn body(form: WebhookForm, event: &str) -> Result<String, SendError> {
    if form == WebhookForm::Generic {
        return Ok(event.to_owned());
    }
    let event: Event = serde_json::from_str(event).map_err(|error| SendError::Form(error.to_string()))?;
    Ok(match form {
        WebhookForm::Slack => slack(&event.data),
        _ => discord(&event.data),
    })
}

fn slack(told: &Told) -> String {
    // Slack's only markup characters; those of its emphasis do no harm.
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let title = escaped(&cut(&told.title, MAX_TITLE));
    let summary = escaped(&cut(&told.summary.join("\n"), MAX_SUMMARY));
    let section = format!("*{title}*\n{summary}\n<{}|Open in tallyd>", told.link);
    json!({ "text": title, "blocks": [{ "type": "section", "text": { "type": "mrkdwn", "text": section } }] })
        .to_string()
}

fn discord(told: &Told) -> String {
    let embed = json!({
        "title": cut(&told.title, MAX_TITLE),
        "description": marked(&cut(&told.summary.join("\n"), MAX_SUMMARY)),
        "url": told.link,
    });
    // A name that somebody chose must not call everybody.
    json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } }).to_string()
}

/// With the characters of Discord's markup escaped.
fn marked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '*' | '_' | '~' | '`' | '|' | '[' | ']' | '<' | '>') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn event(name: &str) -> String {
        let data = Told {
            title: "bot at 80 %: $240.00 of $300.00".to_owned(),
            summary: vec![format!("Most of it is {name}."), "It resets on Tue 1 Dec.".to_owned()],
            link: "http://127.0.0.1:7117/budgets/bot".to_owned(),
            more: serde_json::Map::new(),
        };
        let event = Event { kind: "budget.alert".to_owned(), timestamp: "2026-11-19T10:47:00.000Z".to_owned(), data };
        serde_json::to_string(&event).unwrap()
    }

    #[test]
    fn slack_and_discord_are_told_the_same_in_their_own_forms() {
        let event = event("<!channel>*x*");
        assert_eq!(body(WebhookForm::Generic, &event).unwrap(), event);
        let slack: Value = serde_json::from_str(&body(WebhookForm::Slack, &event).unwrap()).unwrap();
        assert_eq!(slack["text"], "bot at 80 %: $240.00 of $300.00");
        let text = slack["blocks"][0]["text"]["text"].as_str().unwrap();
        assert!(
            text.contains("&lt;!channel&gt;") && text.ends_with("<http://127.0.0.1:7117/budgets/bot|Open in tallyd>")
        );
        let discord: Value = serde_json::from_str(&body(WebhookForm::Discord, &event).unwrap()).unwrap();
        assert_eq!(discord["embeds"][0]["url"], "http://127.0.0.1:7117/budgets/bot");
        assert_eq!(discord["allowed_mentions"]["parse"], serde_json::json!([]));
        let description = discord["embeds"][0]["description"].as_str().unwrap();
        assert!(description.contains("\\<!channel\\>\\*x\\*"), "{description}");
    }

    #[test]
    fn what_others_named_cannot_make_a_body_too_long() {
        let long = event(&"x".repeat(100_000));
        for form in [WebhookForm::Slack, WebhookForm::Discord] {
            assert!(body(form, &long).unwrap().len() < 4_000);
        }
        assert!(matches!(body(WebhookForm::Slack, "{}"), Err(SendError::Form(_))));
    }
}
