//! OpenRouter's log export: what was billed, as CSV.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::sim::picos::Picos;
use crate::sim::truth::{Billed, Outcome};

/// Which columns an export has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportColumns {
    /// The 24 of September 2026.
    New,
    /// The 23 before that, in their order.
    Old,
}

/// The whole file.
pub(in crate::sim) fn csv(billed: &[Arc<Billed>], columns: ExportColumns) -> String {
    let last = match columns {
        ExportColumns::New => "api_key_disabled,api_key_name,app_name",
        ExportColumns::Old => "app_name,api_key_name",
    };
    let mut text = format!(
        "generation_id,created_at,cost_total,cost_web_search,cost_cache,cost_file_processing,byok_usage_inference,tokens_prompt,tokens_completion,tokens_reasoning,tokens_cached,model_permaslug,provider_name,variant,cancelled,streamed,user,finish_reason_raw,finish_reason_normalized,generation_time_ms,time_to_first_token_ms,{last}\n"
    );
    for billed in billed {
        let created = billed.created_at.to_iso().replace('T', " ");
        let finish = billed.finish_reason.as_deref().unwrap_or_default();
        let tokens = billed.tokens;
        let key = format!("key {}", billed.key.tail);
        let last = match columns {
            ExportColumns::New => format!("false,{key},"),
            ExportColumns::Old => format!(",{key}"),
        };
        let _ = writeln!(
            text,
            "{},{},{},,{},,{},{},{},{},{},{},{},standard,{},{},{},{finish},{finish},{},{},{last}",
            billed.id,
            created.trim_end_matches('Z'),
            billed.cost.plain(),
            billed.cache_discount.map_or_else(String::new, |saved| (Picos::ZERO - saved).plain()),
            billed.upstream.unwrap_or_default().plain(),
            tokens.prompt,
            tokens.completion,
            tokens.reasoning,
            tokens.cached,
            billed.model.permaslug,
            cell(billed.provider.name),
            billed.outcome == Outcome::Cancelled,
            billed.streamed,
            cell(billed.user.as_deref().unwrap_or_default()),
            billed.generation_ms,
            billed.latency_ms,
        );
    }
    text
}

fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
