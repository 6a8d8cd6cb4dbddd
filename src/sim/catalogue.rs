//! The models on sale, who serves them, and at what price.
//!
//! Prices follow OpenRouter's public list of autumn 2026 closely enough to look right; nothing depends on their being right.
//! Which providers stop billing when the client leaves follows the list in OpenRouter's streaming guide ("Stream cancellation").

use super::picos::Picos;

/// What a model is for: decides its endpoints and the prefix of its generation IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text in, text out.
    Text,
    /// Text in, vectors out.
    Embedding,
    /// Documents in, order out.
    Rerank,
    /// Text in, sound out.
    Speech,
    /// Sound in, text out.
    Transcription,
    /// Text in, picture out.
    Image,
    /// Text in, film out.
    Video,
}

/// One company that serves models.
#[derive(Debug, PartialEq, Eq)]
pub struct Provider {
    /// The name on the wire: `OpenAI`.
    pub name: &'static str,
    /// The name in routing preferences: `openai`.
    pub slug: &'static str,
    /// Whether it stops working, and billing, when the client leaves a stream.
    pub cancels: bool,
}

/// One model at one provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// Who serves it.
    pub provider: &'static Provider,
    /// Price of a prompt token.
    pub prompt: Picos,
    /// Price of a completion token.
    pub completion: Picos,
    /// Price of a prompt token read from the provider's cache; `None`: no cache.
    pub cache_read: Option<Picos>,
    /// Price of a prompt token written to it; `None`: writing costs nothing extra.
    pub cache_write: Option<Picos>,
    /// Price of the call itself.
    pub request: Picos,
    /// Hundredths taken off for data logging.
    pub discount_percent: u32,
    /// Typical time to the first token.
    pub latency_ms: u32,
    /// Typical speed, tokens a second.
    pub speed: u32,
    /// Share of the calls that are routed here when the caller has no preference.
    pub weight: u32,
}

/// One model.
#[derive(Debug, PartialEq, Eq)]
pub struct Model {
    /// The name callers use: `openai/gpt-4o-mini`.
    pub id: &'static str,
    /// The dated name that generation records use.
    pub permaslug: &'static str,
    /// The name people read.
    pub title: &'static str,
    /// What it is for.
    pub kind: Kind,
    /// Longest prompt, in tokens.
    pub context: u32,
    /// Family of its tokenizer.
    pub tokenizer: &'static str,
    /// What its provider calls a normal end.
    pub native_stop: &'static str,
    /// Who serves it; never empty.
    pub routes: &'static [Route],
}

macro_rules! providers {
    ($($name:ident = $title:literal, $slug:literal, $cancels:literal;)*) => {
        $(
            #[doc = concat!("`", $title, "`")]
            pub static $name: Provider = Provider { name: $title, slug: $slug, cancels: $cancels };
        )*
    };
}

providers! {
    OPENAI = "OpenAI", "openai", true;
    AZURE = "Azure", "azure", true;
    ANTHROPIC = "Anthropic", "anthropic", true;
    BEDROCK = "Amazon Bedrock", "amazon-bedrock", false;
    VERTEX = "Google Vertex", "google-vertex", false;
    AI_STUDIO = "Google AI Studio", "google-ai-studio", false;
    DEEPSEEK = "DeepSeek", "deepseek", true;
    DEEPINFRA = "DeepInfra", "deepinfra", true;
    FIREWORKS = "Fireworks", "fireworks", true;
    TOGETHER = "Together", "together", true;
    GROQ = "Groq", "groq", false;
    MISTRAL = "Mistral", "mistral", false;
    XAI = "xAI", "xai", true;
    COHERE = "Cohere", "cohere", true;
}

/// A price per token from hundredths of a cent per million tokens: `usd(1500)` is $0.15 per million.
const fn usd(ten_thousandths_per_million: i128) -> Picos {
    Picos(ten_thousandths_per_million * 100)
}

const fn route(
    provider: &'static Provider,
    prompt: i128,
    completion: i128,
    latency_ms: u32,
    speed: u32,
    weight: u32,
) -> Route {
    Route {
        provider,
        prompt: usd(prompt),
        completion: usd(completion),
        cache_read: None,
        cache_write: None,
        request: Picos(0),
        discount_percent: 0,
        latency_ms,
        speed,
        weight,
    }
}

impl Route {
    const fn cached(mut self, read: i128) -> Self {
        self.cache_read = Some(usd(read));
        self
    }

    const fn written(mut self, write: i128) -> Self {
        self.cache_write = Some(usd(write));
        self
    }

    const fn discounted(mut self) -> Self {
        self.discount_percent = 1;
        self
    }

    const fn per_call(mut self, picos: i128) -> Self {
        self.request = Picos(picos);
        self
    }
}

const fn text(
    id: &'static str,
    permaslug: &'static str,
    title: &'static str,
    (context, tokenizer, native_stop): (u32, &'static str, &'static str),
    routes: &'static [Route],
) -> Model {
    Model { id, permaslug, title, kind: Kind::Text, context, tokenizer, native_stop, routes }
}

const fn other(id: &'static str, title: &'static str, kind: Kind, routes: &'static [Route]) -> Model {
    Model { id, permaslug: id, title, kind, context: 8192, tokenizer: "Other", native_stop: "stop", routes }
}

const GPT: (u32, &str, &str) = (128_000, "GPT", "stop");
const CLAUDE: (u32, &str, &str) = (200_000, "Claude", "end_turn");
const GEMINI: (u32, &str, &str) = (1_048_576, "Gemini", "STOP");
const OPEN: (u32, &str, &str) = (131_072, "Other", "stop");

/// Every model on sale.
pub static MODELS: &[Model] = &[
    text(
        "openai/gpt-4o-mini",
        "openai/gpt-4o-mini-2024-07-18",
        "OpenAI: GPT-4o-mini",
        GPT,
        &[
            route(&OPENAI, 1500, 6000, 290, 95, 8).cached(750).discounted(),
            route(&AZURE, 1500, 6000, 410, 110, 2).cached(750),
        ],
    ),
    text(
        "openai/gpt-4o",
        "openai/gpt-4o-2024-11-20",
        "OpenAI: GPT-4o (2024-11-20)",
        GPT,
        &[
            route(&OPENAI, 25_000, 100_000, 450, 82, 7).cached(12_500),
            route(&AZURE, 25_000, 100_000, 610, 95, 3).cached(12_500),
        ],
    ),
    text(
        "openai/gpt-4.1-mini",
        "openai/gpt-4.1-mini-2025-04-14",
        "OpenAI: GPT-4.1 Mini",
        GPT,
        &[route(&OPENAI, 4000, 16_000, 380, 90, 1).cached(1000).discounted()],
    ),
    text(
        "openai/gpt-4.1",
        "openai/gpt-4.1-2025-04-14",
        "OpenAI: GPT-4.1",
        GPT,
        &[
            route(&OPENAI, 20_000, 80_000, 520, 78, 8).cached(5000).discounted(),
            route(&AZURE, 20_000, 80_000, 640, 84, 2).cached(5000),
        ],
    ),
    text(
        "anthropic/claude-sonnet-4",
        "anthropic/claude-4-sonnet-20250522",
        "Anthropic: Claude Sonnet 4",
        CLAUDE,
        &[
            route(&ANTHROPIC, 30_000, 150_000, 1210, 62, 6).cached(3000).written(37_500),
            route(&BEDROCK, 30_000, 150_000, 1130, 66, 3).cached(3000).written(37_500),
            route(&VERTEX, 30_000, 150_000, 1280, 70, 1).cached(3000).written(37_500),
        ],
    ),
    text(
        "anthropic/claude-3.5-haiku",
        "anthropic/claude-3-5-haiku-20241022",
        "Anthropic: Claude 3.5 Haiku",
        CLAUDE,
        &[
            route(&ANTHROPIC, 8000, 40_000, 390, 120, 7).cached(800).written(10_000),
            route(&BEDROCK, 8000, 40_000, 420, 105, 3).cached(800).written(10_000),
        ],
    ),
    text(
        "google/gemini-2.5-flash",
        "google/gemini-2.5-flash",
        "Google: Gemini 2.5 Flash",
        GEMINI,
        &[
            route(&VERTEX, 3000, 25_000, 300, 160, 6).cached(300),
            route(&AI_STUDIO, 3000, 25_000, 320, 150, 4).cached(300),
        ],
    ),
    text(
        "google/gemini-2.5-pro",
        "google/gemini-2.5-pro",
        "Google: Gemini 2.5 Pro",
        GEMINI,
        &[
            route(&VERTEX, 12_500, 100_000, 3300, 105, 5).cached(1250),
            route(&AI_STUDIO, 12_500, 100_000, 2950, 112, 5).cached(1250),
        ],
    ),
    text(
        "deepseek/deepseek-chat-v3.1",
        "deepseek/deepseek-chat-v3.1",
        "DeepSeek: DeepSeek V3.1",
        OPEN,
        &[
            route(&DEEPSEEK, 2700, 10_000, 900, 48, 5).cached(700),
            route(&DEEPINFRA, 2100, 7900, 640, 40, 4).cached(1680),
            route(&FIREWORKS, 5600, 16_800, 420, 110, 1),
        ],
    ),
    text(
        "meta-llama/llama-3.3-70b-instruct",
        "meta-llama/llama-3.3-70b-instruct",
        "Meta: Llama 3.3 70B Instruct",
        OPEN,
        &[
            route(&DEEPINFRA, 1300, 4000, 240, 75, 6),
            route(&GROQ, 5900, 7900, 180, 270, 2),
            route(&TOGETHER, 8800, 8800, 330, 90, 2),
        ],
    ),
    text(
        "meta-llama/llama-3.3-70b-instruct:free",
        "meta-llama/llama-3.3-70b-instruct",
        "Meta: Llama 3.3 70B Instruct (free)",
        OPEN,
        &[route(&TOGETHER, 0, 0, 900, 35, 1)],
    ),
    text(
        "mistralai/mistral-medium-3.1",
        "mistralai/mistral-medium-3.1",
        "Mistral: Mistral Medium 3.1",
        OPEN,
        &[route(&MISTRAL, 4000, 20_000, 480, 72, 1)],
    ),
    text(
        "x-ai/grok-3-mini",
        "x-ai/grok-3-mini",
        "xAI: Grok 3 Mini",
        OPEN,
        &[route(&XAI, 3000, 5000, 520, 130, 1).cached(750)],
    ),
    other(
        "openai/text-embedding-3-small",
        "OpenAI: Text Embedding 3 Small",
        Kind::Embedding,
        &[route(&OPENAI, 200, 0, 150, 1, 1)],
    ),
    other(
        "cohere/rerank-v3.5",
        "Cohere: Rerank v3.5",
        Kind::Rerank,
        &[route(&COHERE, 0, 0, 210, 1, 1).per_call(2_000_000_000)],
    ),
    other(
        "openai/gpt-4o-mini-tts",
        "OpenAI: GPT-4o Mini TTS",
        Kind::Speech,
        &[route(&OPENAI, 6000, 120_000, 700, 300, 1)],
    ),
    other(
        "openai/gpt-4o-mini-transcribe",
        "OpenAI: GPT-4o Mini Transcribe",
        Kind::Transcription,
        &[route(&OPENAI, 12_500, 50_000, 800, 200, 1)],
    ),
    other(
        "google/gemini-2.5-flash-image",
        "Google: Gemini 2.5 Flash Image",
        Kind::Image,
        &[route(&VERTEX, 3000, 25_000, 4200, 400, 1)],
    ),
    other(
        "google/veo-3.1",
        "Google: Veo 3.1",
        Kind::Video,
        &[route(&VERTEX, 0, 0, 9000, 1, 1).per_call(3_200_000_000_000)],
    ),
];

/// The model that answers when nobody names one.
pub fn default_of(kind: Kind) -> &'static Model {
    MODELS.iter().find(|model| model.kind == kind).unwrap_or(&MODELS[0])
}

/// The model of that ID, permaslug, or ID with a dynamic suffix (`:nitro`, `:floor`…).
pub fn find(name: &str) -> Option<&'static Model> {
    let exact = |name: &str| MODELS.iter().find(|model| model.id == name);
    exact(name)
        .or_else(|| exact(name.split_once(':')?.0))
        .or_else(|| MODELS.iter().find(|model| model.permaslug == name))
}

/// The provider of that name or slug.
pub fn provider(name: &str) -> Option<&'static Provider> {
    MODELS
        .iter()
        .flat_map(|model| model.routes)
        .map(|route| route.provider)
        .find(|provider| provider.slug.eq_ignore_ascii_case(name) || provider.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_what_they_say_and_stay_whole_after_the_discount() {
        let mini = find("openai/gpt-4o-mini").unwrap();
        assert_eq!(mini.routes[0].prompt.plain(), "0.00000015");
        for route in MODELS.iter().flat_map(|model| model.routes) {
            for price in [route.prompt, route.completion, route.request] {
                assert_eq!(price.0 % 100, 0, "a hundredth of a price must be whole pico-dollars");
            }
            assert!(route.weight > 0);
        }
    }

    #[test]
    fn models_are_found_by_id_suffix_and_permaslug() {
        for name in ["openai/gpt-4o", "openai/gpt-4o:nitro", "openai/gpt-4o-2024-11-20"] {
            assert_eq!(find(name).unwrap().id, "openai/gpt-4o", "{name}");
        }
        assert_eq!(find("meta-llama/llama-3.3-70b-instruct:free").unwrap().routes[0].prompt, Picos::ZERO);
        assert!(find("acme/fake-1.0").is_none());
    }
}
