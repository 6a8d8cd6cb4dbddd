//! What a request path means: whether it buys inference, and in which skin its errors come.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::domain::attribution::Attribution;
use crate::web::skin::Skin;

/// The paths below `/api/v1/` whose POST buys inference (openrouter.md section 5).
pub const INFERENCE: [&str; 11] = [
    "chat/completions",
    "completions",
    "responses",
    "messages",
    "embeddings",
    "rerank",
    "images",
    "images/generations",
    "audio/transcriptions",
    "audio/speech",
    "videos",
];

/// The paths below `/api/v1/presets/{slug}/` whose POST buys inference.
pub const PRESET_INFERENCE: [&str; 3] = ["chat/completions", "responses", "messages"];

/// Longest endpoint kept, in bytes; a longer one is cut.
const MAX_NAME: usize = 128;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The path below `/api/v1/`, as `usage.endpoint` shows it.
    pub name: String,
    /// A POST to an inference path: it makes a row whatever comes of it.
    pub inference: bool,
    /// How its errors are worded.
    pub skin: Skin,
    /// `@preset/…` for a path that names a preset.
    pub preset: Option<String>,
    /// The job that a GET of `videos/{job}` looks at: its reply may tell what an earlier call cost.
    pub job: Option<String>,
}

impl Endpoint {
    /// Reads method and path. Only the reading is lenient (escapes, doubled slashes, dots), so that no spelling that
    /// upstream might understand slips by; the path itself is forwarded as it came.
    pub fn of(method: &Method, path: &str) -> Self {
        // Nearly every call spells its path like this, which need not be taken apart.
        let usual = path.strip_prefix("/api/v1/").and_then(|tail| INFERENCE.into_iter().find(|known| *known == tail));
        if let Some(known) = usual {
            let inference = *method == Method::POST;
            return Self { name: known.to_owned(), inference, skin: skin(known), preset: None, job: None };
        }
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let mut segments: Vec<&str> = Vec::new();
        for segment in decoded.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                _ => segments.push(segment),
            }
        }
        // Below `/api/v1/`, or below `/api/` where the version is another.
        let below = match segments.as_slice() {
            ["api", version, rest @ ..] if version.eq_ignore_ascii_case("v1") => rest,
            ["api", rest @ ..] => rest,
            other => other,
        };
        let unversioned = match below {
            [version, rest @ ..] if is_version(version) => rest,
            other => other,
        };
        let (preset, tail) = match unversioned {
            [presets, slug, rest @ ..] if presets.eq_ignore_ascii_case("presets") => {
                (Some(format!("@preset/{slug}")), rest.join("/"))
            }
            rest => (None, rest.join("/")),
        };
        let job = match unversioned {
            [videos, job] if *method == Method::GET && videos.eq_ignore_ascii_case("videos") => Attribution::label(job),
            _ => None,
        };
        let paths: &[&str] = if preset.is_some() { &PRESET_INFERENCE } else { &INFERENCE };
        let known = paths.iter().any(|known| known.eq_ignore_ascii_case(&tail));
        let skin = skin(&tail.to_ascii_lowercase());
        let mut name: String = below.join("/").chars().filter(|c| !c.is_control()).collect();
        while name.len() > MAX_NAME {
            name.pop();
        }
        Self { name, inference: known && *method == Method::POST, skin, preset, job }
    }
}

/// How the errors of a path below the version are worded; it is in lower case.
fn skin(path: &str) -> Skin {
    match path {
        "messages" | "messages/count_tokens" => Skin::Messages,
        "responses" => Skin::Responses,
        _ => Skin::Chat,
    }
}

/// Whether a segment is a version of the API beside `v1`: `alpha`, `beta`, `v2`.
fn is_version(segment: &str) -> bool {
    let number = segment.strip_prefix(['v', 'V']);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        || ["alpha", "beta"].iter().any(|known| segment.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_inference_path_is_known_however_it_is_spelt() {
        for path in INFERENCE {
            assert!(Endpoint::of(&Method::POST, &format!("/api/v1/{path}")).inference, "{path}");
            assert!(!Endpoint::of(&Method::GET, &format!("/api/v1/{path}")).inference, "{path}");
        }
        for path in [
            "/api/v1/chat/completions/",
            "/api/v1//chat/completions",
            "/api/v1/./chat/completions",
            "/api/v1/models/../chat/completions",
            "/api/v1/chat%2Fcompletions",
            "/api/v1/Chat/Completions",
            "/api/alpha/responses",
            "/api/v1/presets/mine/chat/completions",
            "/api/V1/chat/completions",
            "/api/%76%31/chat/completions",
            "/api//v1/chat//completions//",
            "/api/v1/chat/./completions",
            "/api/v1/models/%2E%2E/chat/completions",
            "/api/v1%2Fchat%2fcompletions",
            "/api/v2/chat/completions",
            "/api/V2/Chat/completions",
            "/api/Alpha/responses",
            "/api/v1/Presets/mine/chat/completions",
            "/api/chat/completions",
        ] {
            assert!(Endpoint::of(&Method::POST, path).inference, "{path}");
        }
        for path in ["/api/v1/keys", "/api/v1/presets/mine/embeddings", "/api/v1/", "/api", "/api/v1/chat"] {
            assert!(!Endpoint::of(&Method::POST, path).inference, "{path}");
        }
    }

    #[test]
    fn names_and_skins() {
        let preset = Endpoint::of(&Method::POST, "/api/v1/presets/mine/messages");
        assert_eq!(preset.name, "presets/mine/messages");
        assert_eq!((preset.skin, preset.preset.as_deref()), (Skin::Messages, Some("@preset/mine")));
        assert_eq!(Endpoint::of(&Method::POST, "/api/v1/responses").skin, Skin::Responses);
        assert_eq!(Endpoint::of(&Method::GET, "/api/beta/batches").name, "beta/batches");
        let job = |method: Method, path: &str| Endpoint::of(&method, path).job;
        assert_eq!(job(Method::GET, "/api/v1/videos/job-1").as_deref(), Some("job-1"));
        assert_eq!(job(Method::GET, "/api/v1/videos/job%2D1/").as_deref(), Some("job-1"));
        assert_eq!(job(Method::DELETE, "/api/v1/videos/job-1"), None);
        assert_eq!(job(Method::GET, "/api/v1/videos/job-1/content"), None);
        assert_eq!(job(Method::GET, "/api/v1/videos"), None);
    }
}
