//! The endpoints that are not chat in any dialect: embeddings, rerank, images, sound, films.

use std::fmt::Write as _;

use crate::sim::behaviour::Behaviour;
use crate::sim::endpoint::Endpoint;
use crate::sim::plan::Plan;

/// The reply's body and content type.
pub(in crate::sim) fn whole(plan: &Plan, polling_base: &str) -> (Vec<u8>, &'static str) {
    const JSON: &str = "application/json";
    let notation = plan.behaviour.notation.unwrap_or_default();
    let tokens = plan.shown();
    let bill = plan.bill(tokens);
    let cost = bill.charged.json(notation);
    let byok = plan.byok;
    let json = match plan.endpoint {
        Endpoint::Embeddings => {
            let id = if Behaviour::on(plan.behaviour.no_body_id) {
                String::new()
            } else {
                format!("\"id\":\"{}\",", plan.id)
            };
            let mut text = String::from(
                "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"embedding\":[0.0023064255,-0.009327292,0.015797347],\"index\":0}],",
            );
            let _ = write!(
                text,
                "\"model\":\"{}\",\"provider\":\"{}\",{id}\"usage\":{{\"prompt_tokens\":{},\"total_tokens\":{},\"cost\":{cost},\"is_byok\":{byok},\"cost_details\":{{\"upstream_inference_cost\":{},\"upstream_inference_prompt_cost\":{},\"upstream_inference_completions_cost\":0}}}}}}",
                plan.model_name(),
                plan.route.provider.name,
                tokens.prompt,
                tokens.prompt,
                bill.list().json(notation),
                bill.prompt.json(notation)
            );
            text
        }
        Endpoint::Rerank => format!(
            "{{\"id\":\"{}\",\"model\":\"{}\",\"provider\":\"{}\",\"results\":[{{\"index\":0,\"relevance_score\":0.97}}],\"usage\":{{\"search_units\":1,\"total_tokens\":{},\"cost\":{cost}}}}}",
            plan.id,
            plan.model_name(),
            plan.route.provider.name,
            tokens.prompt
        ),
        Endpoint::Images => format!(
            "{{\"created\":{},\"data\":[{{\"b64_json\":\"aVZCT1J3MEtHZ28=\"}}],\"usage\":{{\"cost\":{cost},\"is_byok\":{byok}}}}}",
            plan.created_second()
        ),
        Endpoint::Transcriptions => format!(
            "{{\"text\":\"A short note.\",\"usage\":{{\"seconds\":4.2,\"input_tokens\":{},\"output_tokens\":{},\"total_tokens\":{},\"cost\":{cost}}}}}",
            tokens.prompt,
            tokens.completion,
            tokens.prompt + tokens.completion
        ),
        Endpoint::Videos => {
            let job = plan.id.as_str().replacen("gen-", "job-", 1);
            format!(
                "{{\"id\":\"{job}\",\"generation_id\":\"{}\",\"polling_url\":\"{polling_base}/videos/{job}\",\"status\":\"pending\"}}",
                plan.id
            )
        }
        // Raw sound: an ID in the head and nothing else to go by.
        _ => {
            let bytes = plan.behaviour.big.unwrap_or(8192);
            let sound = (0..=u8::MAX).cycle().take(bytes).collect();
            return (sound, "audio/mpeg");
        }
    };
    (json.into_bytes(), JSON)
}

/// The body of `GET /videos/{job}`: its cost once the film is there, `None` before.
pub(in crate::sim) fn video(job: &str, generation: &str, bill: Option<(&str, bool)>) -> String {
    let job = super::quoted(job);
    let rest = match bill {
        Some((cost, byok)) => format!(
            "\"status\":\"completed\",\"unsigned_urls\":[\"https://storage.example/film.mp4\"],\"usage\":{{\"cost\":{cost},\"is_byok\":{byok}}}"
        ),
        None => "\"status\":\"in_progress\"".to_owned(),
    };
    format!("{{\"id\":{job},\"generation_id\":\"{generation}\",{rest}}}")
}
