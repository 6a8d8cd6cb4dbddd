//! The log export: however the file is cut, every line is read once or rejected by its number.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tallyd::import::Kind;

fuzz_target!(|file: &[u8]| {
    tallyd_fuzz::import(file, Kind::Export);
});
