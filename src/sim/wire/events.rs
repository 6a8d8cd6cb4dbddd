//! The events of one stream, in order, made when they are wanted.

use super::{Words, chat, messages, responses};
use crate::sim::behaviour::{Behaviour, Code, Eol};
use crate::sim::endpoint::Endpoint;
use crate::sim::plan::Plan;

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Step {
    /// The nth keep-alive comment.
    Comment(u32),
    /// The nth event before the content.
    Prologue(u32),
    /// The nth piece of content.
    Content(u32),
    /// The provider's failure.
    Error,
    /// The nth event after the content.
    Epilogue(u32),
    /// `[DONE]`.
    Done,
    /// Over.
    End,
}

/// The events of one stream.
#[derive(Debug)]
pub(in crate::sim) struct Events {
    step: Step,
    words: Words,
    chunks: u32,
    /// Only of the chat dialects.
    writer: chat::Chunks,
}

impl Events {
    /// The events of `plan`.
    pub(in crate::sim) fn of(plan: &Plan) -> Self {
        Self { step: Step::Comment(0), words: Words::of(plan), chunks: plan.chunks(), writer: chat::Chunks::new(plan) }
    }

    /// What comes next.
    pub(in crate::sim) const fn step(&self) -> Step {
        self.step
    }

    /// Makes the next piece of content `text`.
    pub(in crate::sim) fn say(&mut self, text: String) {
        self.words.say(text);
    }

    /// Writes the next event, if this step has one, and goes on to the following step.
    pub(in crate::sim) fn write(&mut self, plan: &Plan, out: &mut String) {
        let start = out.len();
        self.step = match self.step {
            Step::Comment(nth) => {
                let comments = plan.behaviour.comments.unwrap_or(1);
                if nth < comments {
                    let odd = nth == 0 && Behaviour::on(plan.behaviour.odd_comment);
                    out.push_str(if odd { "data: : OPENROUTER PROCESSING\n\n" } else { comment(plan.endpoint) });
                    Step::Comment(nth + 1)
                } else {
                    Step::Prologue(0)
                }
            }
            Step::Prologue(nth) => {
                let more = match plan.endpoint {
                    Endpoint::Responses => responses::prologue(plan, nth, out),
                    Endpoint::Messages => messages::prologue(plan, nth, out),
                    _ => self.writer.prologue(plan, nth, out),
                };
                if more { Step::Prologue(nth + 1) } else { self.after_content(plan, 0) }
            }
            Step::Content(nth) => {
                let reasoning = Behaviour::on(plan.behaviour.only_reasoning);
                match plan.endpoint {
                    Endpoint::Responses => responses::content(&self.words, reasoning, nth, out),
                    Endpoint::Messages => messages::content(&self.words, reasoning, nth, out),
                    _ => self.writer.content(&self.words, reasoning, nth, out),
                }
                self.after_content(plan, nth + 1)
            }
            Step::Error => {
                match plan.endpoint {
                    Endpoint::Responses => responses::error(plan, plan.behaviour.error_after.unwrap_or(0), out),
                    Endpoint::Messages => out.push_str(messages::ERROR),
                    _ => self.writer.error(plan.behaviour.error_code.unwrap_or(Code::Number), out),
                }
                Step::End
            }
            Step::Epilogue(nth) => {
                let more = match plan.endpoint {
                    Endpoint::Responses => responses::epilogue(plan, &self.words, self.chunks, nth, out),
                    Endpoint::Messages => messages::epilogue(plan, nth, out),
                    _ => self.writer.epilogue(plan, nth, out),
                };
                if more { Step::Epilogue(nth + 1) } else { Step::Done }
            }
            Step::Done => {
                if !Behaviour::on(plan.behaviour.no_done) {
                    out.push_str(if plan.endpoint == Endpoint::Messages {
                        "event: data\ndata: [DONE]\n\n"
                    } else {
                        "data: [DONE]\n\n"
                    });
                }
                Step::End
            }
            Step::End => Step::End,
        };
        if plan.behaviour.eol == Some(Eol::Crlf) {
            let lines = out.split_off(start).replace('\n', "\r\n");
            out.push_str(&lines);
        }
    }

    fn after_content(&self, plan: &Plan, sent: u32) -> Step {
        if plan.behaviour.error_after.is_some_and(|after| sent >= after) {
            Step::Error
        } else if sent >= self.chunks {
            Step::Epilogue(0)
        } else {
            Step::Content(sent)
        }
    }
}

/// A keep-alive comment.
pub(in crate::sim) fn comment(endpoint: Endpoint) -> &'static str {
    if endpoint == Endpoint::Responses { ": \n\n" } else { ": OPENROUTER PROCESSING\n\n" }
}
