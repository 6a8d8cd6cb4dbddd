//! What Broadcast pushes: any cut tells the same; no more spans, and no other costs, than may be.

#![no_main]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use tallyd::openrouter::broadcast::{MAX_SPANS, read};
use tallyd_fuzz::{pieces, within};

/// A body that comes in pieces.
struct Cut<'a>(std::vec::IntoIter<&'a [u8]>);

impl Read for Cut<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.0.next() else { return Ok(0) };
        into[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

fuzz_target!(|body: &[u8]| {
    // Values of wanted attributes are held, and what is kept of them.
    let bound = (64 << 10) + 64 * body.len();
    let whole = within(bound, || read(body));
    let cut = read(io::BufReader::with_capacity(64, Cut(pieces(body).into_iter())));
    assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
    let Ok(spans) = whole else { return };
    assert!(spans.spans.len() <= MAX_SPANS);
    assert_eq!(spans.rejected > 0, spans.reason.is_some());
    for span in spans.spans {
        if let Some(cost) = span.pushed.facts.inline_cost {
            assert!(cost.picos() >= 0, "a negative cost was believed");
        }
    }
});
