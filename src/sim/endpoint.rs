//! The paths under `/api/v1` that cost money.

use super::catalogue::Kind;

/// One inference endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/chat/completions`
    Chat,
    /// `/completions`
    Completions,
    /// `/responses`
    Responses,
    /// `/messages`
    Messages,
    /// `/embeddings`
    Embeddings,
    /// `/rerank`
    Rerank,
    /// `/images`
    Images,
    /// `/audio/transcriptions`
    Transcriptions,
    /// `/audio/speech`
    Speech,
    /// `/videos`
    Videos,
}

impl Endpoint {
    /// The endpoint at `path` below `/api/v1/`; presets have the endpoint they end in.
    pub fn at(path: &str) -> Option<Self> {
        let path = match path.strip_prefix("presets/") {
            Some(preset) => preset.split_once('/')?.1,
            None => path,
        };
        Some(match path {
            "chat/completions" => Self::Chat,
            "completions" => Self::Completions,
            "responses" => Self::Responses,
            "messages" => Self::Messages,
            "embeddings" => Self::Embeddings,
            "rerank" => Self::Rerank,
            "images" => Self::Images,
            "audio/transcriptions" => Self::Transcriptions,
            "audio/speech" => Self::Speech,
            "videos" => Self::Videos,
            _ => return None,
        })
    }

    /// The path below `/api/v1/`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Images => "images",
            Self::Transcriptions => "audio/transcriptions",
            Self::Speech => "audio/speech",
            Self::Videos => "videos",
        }
    }

    /// What its generation IDs start with.
    pub const fn id_prefix(self) -> &'static str {
        match self {
            Self::Embeddings => "gen-emb-",
            Self::Rerank => "gen-rerank-",
            Self::Transcriptions => "gen-stt-",
            Self::Speech => "gen-tts-",
            _ => "gen-",
        }
    }

    /// The `api_type` of its generation records.
    pub const fn api_type(self) -> &'static str {
        match self {
            Self::Chat | Self::Completions | Self::Responses | Self::Messages => "completions",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Images => "image",
            Self::Transcriptions => "stt",
            Self::Speech => "tts",
            Self::Videos => "video",
        }
    }

    /// The kind of model that answers there.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Chat | Self::Completions | Self::Responses | Self::Messages => Kind::Text,
            Self::Embeddings => Kind::Embedding,
            Self::Rerank => Kind::Rerank,
            Self::Images => Kind::Image,
            Self::Transcriptions => Kind::Transcription,
            Self::Speech => Kind::Speech,
            Self::Videos => Kind::Video,
        }
    }

    /// Whether `"stream": true` means anything there.
    pub const fn streams(self) -> bool {
        matches!(self, Self::Chat | Self::Completions | Self::Responses | Self::Messages)
    }
}
