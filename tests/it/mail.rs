//! Mail: real SMTP conversations with a scripted server, and the way from a crossing to an accepted mail.

mod conversation;
mod delivery;
mod scene;
