//! What people and programs reach over HTTP: the gateway, the API and the pages, on one port.

pub mod access;
pub mod api;
pub mod dashboard;
pub mod gateway;
pub mod guard;
pub mod serve;
pub mod skin;
