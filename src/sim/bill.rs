//! The price of a generation, computed from the catalogue and nothing else.

use super::catalogue::Route;
use super::picos::Picos;
use super::truth::Tokens;

/// OpenRouter's fee on calls with the caller's own provider key, per cent of the list price.
const BYOK_FEE_PERCENT: u32 = 5;

/// Who pays the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payer {
    /// OpenRouter, which charges the account.
    OpenRouter,
    /// The caller, with a provider key of its own; `fee`: beyond OpenRouter's free allowance.
    Caller { fee: bool },
}

/// A bill in parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bill {
    /// List price of the prompt, and of the call itself.
    pub(super) prompt: Picos,
    /// List price of the completion.
    pub(super) completion: Picos,
    /// Charged to the account.
    pub(super) charged: Picos,
    /// Saved by the provider's cache (negative: cost more); `None`: the cache had no part in it.
    pub(super) discount: Option<Picos>,
}

impl Bill {
    /// What `tokens` cost on `route`.
    pub(super) fn of(route: &Route, tokens: Tokens, payer: Payer) -> Self {
        let plain = tokens.prompt.saturating_sub(tokens.cached).saturating_sub(tokens.cache_write);
        let read = route.cache_read.unwrap_or(route.prompt).times(tokens.cached);
        let written = route.cache_write.unwrap_or(route.prompt).times(tokens.cache_write);
        let prompt = route.prompt.times(plain) + read + written + route.request;
        let completion = route.completion.times(tokens.completion);
        let list = prompt + completion;
        let charged = match payer {
            Payer::OpenRouter => list.percent(100 - route.discount_percent),
            Payer::Caller { fee: true } => list.percent(BYOK_FEE_PERCENT),
            Payer::Caller { fee: false } => Picos::ZERO,
        };
        let touched = tokens.cached + tokens.cache_write;
        let discount = (touched > 0).then(|| route.prompt.times(touched) - read - written);
        Self { prompt, completion, charged, discount }
    }

    /// The provider's own price.
    pub(super) fn list(&self) -> Picos {
        self.prompt + self.completion
    }
}
