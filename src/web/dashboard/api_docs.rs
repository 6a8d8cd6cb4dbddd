//! `/api-docs`: what programs may ask, for people; read from the document that programs read.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};

use super::DashboardState;
use super::chart::escape;
use super::frame::{Frame, Page};
use super::respond::{PageError, html};
use crate::web::api::document;

/// Where the document holds its schemas.
const SCHEMAS: &str = "#/components/schemas/";

/// A text of the document as HTML: what stands between back-ticks there is code.
struct Prose(String);

impl Prose {
    fn of(text: &str) -> Self {
        let mut html = String::with_capacity(text.len());
        for (place, part) in text.split('`').enumerate() {
            let part = escape(part);
            if place % 2 == 0 {
                html.push_str(&part);
            } else {
                html.push_str("<code>");
                html.push_str(&part);
                html.push_str("</code>");
            }
        }
        Self(html)
    }
}

/// A name, what it is of, and what it means.
struct Field {
    name: String,
    kind: String,
    about: Prose,
}

struct Answer {
    status: String,
    kind: String,
    about: Prose,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: Prose,
    about: Prose,
    params: Vec<Field>,
    body: Option<String>,
    answers: Vec<Answer>,
    example: String,
}

struct Group {
    name: String,
    about: Prose,
    operations: Vec<Operation>,
}

struct Form {
    name: String,
    about: Prose,
    fields: Vec<Field>,
}

#[derive(Template)]
#[template(path = "api_docs.html")]
struct ApiDocsPage {
    frame: Frame,
    paragraphs: Vec<Prose>,
    groups: Vec<Group>,
    forms: Vec<Form>,
}

/// The page.
pub(super) async fn page(State(state): State<DashboardState>) -> Result<Response, PageError> {
    let document = document::value();
    html(&ApiDocsPage {
        frame: Frame::new(&state, "API", Page::None),
        paragraphs: text(&document["info"], "description").split("\n\n").map(Prose::of).collect(),
        groups: groups(document, &state.url),
        forms: forms(document),
    })
}

fn groups(document: &Value, url: &str) -> Vec<Group> {
    let mut operations: Vec<(&str, Operation)> = Vec::new();
    for (path, item) in entries(&document["paths"]) {
        for (method, operation) in entries(item) {
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            operations.push((tag, read(document, url, path, method, operation)));
        }
    }
    let tags = document["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    let group = |tag: &Value| {
        let name = text(tag, "name");
        let (mine, others) = std::mem::take(&mut operations).into_iter().partition(|(of, _)| *of == name);
        operations = others;
        let mine: Vec<(&str, Operation)> = mine;
        Group { name, about: prose(tag, "description"), operations: mine.into_iter().map(|(_, one)| one).collect() }
    };
    tags.iter().map(group).collect()
}

fn read(document: &Value, url: &str, path: &str, method: &str, operation: &Value) -> Operation {
    let params = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let param = |param: &Value| {
        let need = if param["required"] == true { "" } else { ", optional" };
        let place = if text(param, "in") == "path" { "in the path, " } else { "" };
        Field {
            name: text(param, "name"),
            kind: format!("{place}{}{need}", kind(&param["schema"])),
            about: prose(param, "description"),
        }
    };
    let content = |of: &Value| {
        let forms = entries(&of["content"]).map(|(media, form)| {
            let kind = kind(&form["schema"]);
            if media == "application/json" { kind } else { format!("{kind} ({media})") }
        });
        forms.collect::<Vec<_>>().join(", or ")
    };
    let answer = |(status, answer): (&str, &Value)| Answer {
        status: status.to_owned(),
        kind: content(answer),
        about: prose(answer, "description"),
    };
    let method = method.to_uppercase();
    Operation {
        id: format!("{}-{}", method.to_lowercase(), path.trim_matches('/').replace(['/', '.', '{', '}'], "-")),
        example: example(document, url, path, &method, operation),
        summary: prose(operation, "summary"),
        about: prose(operation, "description"),
        params: params.iter().map(param).collect(),
        body: operation.get("requestBody").map(content),
        answers: entries(&operation["responses"]).map(answer).collect(),
        path: path.to_owned(),
        method,
    }
}

/// A line for the shell.
fn example(document: &Value, url: &str, path: &str, method: &str, operation: &Value) -> String {
    let verb = if method == "GET" { String::new() } else { format!(" -X {method}") };
    let content = &operation["requestBody"]["content"];
    let body = match entries(content).next() {
        None => String::new(),
        Some((media, form)) => {
            let schema = form["schema"]["$ref"].as_str().and_then(|name| name.strip_prefix(SCHEMAS));
            let fields = schema.map(|name| &document["components"]["schemas"][name]["properties"]);
            let sample: Map<String, Value> = fields
                .map(entries)
                .into_iter()
                .flatten()
                .filter_map(|(name, field)| Some((name.to_owned(), field.get("example")?.clone())))
                .collect();
            let sample = if sample.is_empty() { "…".to_owned() } else { Value::Object(sample).to_string() };
            format!(" -H 'Content-Type: {media}' -d '{sample}'")
        }
    };
    format!(
        "curl -s{verb} -H \"Authorization: Bearer $TALLYD_ADMIN_TOKEN\"{body} '{}{path}'",
        url.trim_end_matches('/')
    )
}

fn forms(document: &Value) -> Vec<Form> {
    let form = |(name, schema): (&str, &Value)| {
        // What a form shares with another is named, not repeated.
        let parts = schema["allOf"].as_array().map(Vec::as_slice).unwrap_or_default();
        let base = parts.iter().filter(|part| part.get("$ref").is_some()).map(|part| Field {
            name: "…".to_owned(),
            kind: kind(part),
            about: Prose::of("all of its fields"),
        });
        let own = std::iter::once(schema).chain(parts).flat_map(|part| entries(&part["properties"]));
        let field = |(name, schema): (&str, &Value)| Field {
            name: name.to_owned(),
            kind: kind(schema),
            about: prose(schema, "description"),
        };
        let fields: Vec<Field> = base.chain(own.map(field)).collect();
        Form { name: name.to_owned(), about: prose(schema, "description"), fields }
    };
    entries(&document["components"]["schemas"]).map(form).collect()
}

/// What a schema is of, in words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.strip_prefix(SCHEMAS).unwrap_or(name).to_owned();
    }
    if let Some(parts) = schema["oneOf"].as_array() {
        return parts.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let words = |of: &str| match of {
        "array" => format!("list of {}", kind(&schema["items"])),
        "string" => schema["format"].as_str().map_or_else(|| "string".to_owned(), |format| format!("string, {format}")),
        other => other.to_owned(),
    };
    match &schema["type"] {
        Value::String(of) => words(of),
        Value::Array(of) => of.iter().filter_map(Value::as_str).map(words).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    }
}

fn entries(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(of: &Value, key: &str) -> String {
    of[key].as_str().unwrap_or_default().to_owned()
}

fn prose(of: &Value, key: &str) -> Prose {
    Prose::of(&text(of, key))
}
