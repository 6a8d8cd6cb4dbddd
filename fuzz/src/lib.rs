//! What the targets share: splits that depend on nothing but the input, and a look at what reading it took.

use std::io::BufReader;

use peak_alloc::PeakAlloc;
use tallyd::clock::{Clock, Entropy};
use tallyd::domain::time::Timestamp;
use tallyd::import::pieces::{Cutter, Piece};
use tallyd::import::{Kind, Parsed, Teller};
use tallyd::ledger::intake::NamedKeys;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Cuts `bytes` into pieces of 1 to 23 bytes, the same way each time.
pub fn pieces(bytes: &[u8]) -> Vec<&[u8]> {
    let mut state = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let (mut rest, mut pieces) = (bytes, Vec::new());
    while !rest.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = 1 + usize::try_from(state >> 33).unwrap_or(0) % 23;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Does `work`, and fails if it had more than `bound` bytes allocated at once beside what was there before.
pub fn within<T>(bound: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let done = work();
    let taken = ALLOCATED.peak_usage().saturating_sub(before);
    assert!(taken <= bound, "{taken} bytes at once, of {bound}");
    done
}

/// Whoever imports, the same each time.
pub fn teller() -> Teller {
    Teller { clock: Clock::manual(Timestamp(1_795_082_400_000)), entropy: Entropy::seeded(1), keys: NamedKeys::new() }
}

/// Cuts a file as `tallyd import` does, read `buffer` bytes at a time; nothing when it is not one to take.
pub fn cut(file: &[u8], buffer: usize) -> Option<(Kind, Vec<Piece>)> {
    let mut cutter = Cutter::open(BufReader::with_capacity(buffer, file)).expect("memory is read without fail")?;
    let mut pieces = Vec::new();
    while let Some(piece) = cutter.next(|_| Ok(())).expect("memory is read without fail") {
        pieces.push(piece);
    }
    Some((cutter.kind(), pieces))
}

/// What an import must keep to, whatever the file: however it is cut the same is read, and every line that was rejected
/// is found in its piece. Returns what was read of each piece.
pub fn import(file: &[u8], wanted: Kind) -> Vec<Parsed> {
    let Some((kind, pieces)) = cut(file, 8192) else { return Vec::new() };
    if kind != wanted {
        return Vec::new();
    }
    let small = cut(file, 7).expect("it was taken before");
    assert_eq!(format!("{pieces:?}"), format!("{:?}", small.1), "the size of what is read at once changes the pieces");
    let mut all = Vec::new();
    for piece in &pieces {
        // Every line may become a row, and what is told of it: some hundred bytes for each that is read.
        let bound = (64 << 10) + 1024 * piece.lines() + 16 * piece.text.len();
        let Ok(parsed) = within(bound, || teller().read(kind, &piece.text)) else { continue };
        let again = teller().read(kind, &piece.text).expect("it was read before");
        assert_eq!(format!("{parsed:?}"), format!("{again:?}"), "reading it again tells something else");
        let summary = parsed.summary();
        for rejected in &summary.rejected {
            assert!(piece.line(rejected.line).is_some(), "{rejected:?} is no line of the piece");
        }
        let read = summary.read;
        let taken = read.export_lines + read.ids + read.replies + read.records;
        let lines = taken + summary.rejected.len() as u64;
        assert_eq!(lines, piece.lines() as u64, "a line was lost, or read twice");
        all.push(parsed);
    }
    all
}
