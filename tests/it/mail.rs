//! Mail and webhooks: real SMTP conversations with a scripted server and a real one, and the way from a crossing to a
//! message that was accepted.

mod conversation;
mod delivery;
mod digests;
mod pages;
mod real;
mod scene;
mod webhooks;
