//! The gateway between a client and an upstream that the test plays itself, byte by byte, over real sockets.

mod admission;
mod bounds;
mod connections;
mod ends;
mod house;
mod leaving;
mod passing;
