//! Cuts a file of any size into pieces of whole lines, in constant memory.
//!
//! A line of the log export may hold line breaks between quotes; a piece of it begins with the header again, so that each
//! can be read alone.

use std::io::{self, BufRead};

/// Size at which a piece is closed, in bytes: some two thousand lines of the log export.
pub const PIECE: usize = 512 * 1024;

/// Longest line taken, in bytes: a reply with an image or two.
pub const MAX_LINE: usize = 4 << 20;

/// Longest piece, in bytes: one that is nearly full, and a line.
pub const MAX_PIECE: usize = PIECE + 2 * MAX_LINE;

/// What a text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OpenRouter's log export.
    Export,
    /// IDs, replies and generation records, one a line.
    Lines,
}

impl Kind {
    /// What a text whose first line this is holds; `None` if it is neither.
    pub fn of(first_line: &[u8]) -> Option<Self> {
        let line = content(first_line);
        if matches!(line.first(), Some(b'{' | b'[')) || line.starts_with(b"gen-") || line.starts_with(b"\"gen-") {
            return Some(Self::Lines);
        }
        let named = line.windows(b"generation_id".len()).any(|window| window == b"generation_id");
        named.then_some(Self::Export)
    }

    /// As `Content-Type` names it.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Export => "text/csv",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// What stands on a line, without a byte order mark, white space around it, and its break.
pub fn content(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii()
}

/// Line breaks in a text.
pub(super) fn breaks_in(text: &[u8]) -> u64 {
    text.split(|byte| *byte == b'\n').skip(1).count() as u64
}

/// A line that is too long to be taken, on its way past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its number in the file.
    pub line: u64,
}

/// Some whole lines of a file.
#[derive(Debug, Default)]
pub struct Piece {
    /// The text; for the log export, after its header.
    pub text: Vec<u8>,
    /// Where each line begins: its number in the text, its place there, and its number in the file.
    starts: Vec<(u64, usize, u64)>,
    /// Bytes of the file that were read when it was closed.
    pub read: u64,
    /// Lines that were too long, and stand in no piece.
    pub too_long: Vec<TooLong>,
}

impl Piece {
    /// Whether there is nothing in it to take.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Adds a line of one's own.
    pub fn push(&mut self, line: &[u8]) {
        let number = self.starts.len() as u64 + 1;
        self.starts.push((number, self.text.len(), number));
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
    }

    /// Lines in it.
    pub fn lines(&self) -> usize {
        self.starts.len()
    }

    /// The line that stands at number `line` of the text: its number in the file, and its text.
    pub fn line(&self, line: u64) -> Option<(u64, &[u8])> {
        let at = self.starts.partition_point(|(start, ..)| *start <= line).checked_sub(1)?;
        let (_, from, number) = self.starts[at];
        let until = self.starts.get(at + 1).map_or(self.text.len(), |(_, until, _)| *until);
        Some((number, &self.text[from..until]))
    }
}

/// Where in a line of the log export the reader stands; quotes count at a cell's start only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Start,
    Plain,
    Quoted,
    /// A quote in quotes: the first of two, or the last.
    Closing,
}

/// Cuts one file.
#[derive(Debug)]
pub struct Cutter<R> {
    file: R,
    kind: Kind,
    header: Vec<u8>,
    /// Lines of the file read so far.
    line: u64,
    read: u64,
    ended: bool,
}

impl<R: BufRead> Cutter<R> {
    /// Reads the start of a file; `None` if what it begins with is neither the log export's header nor a line to take.
    /// An empty file is one without lines.
    pub fn open(mut file: R) -> io::Result<Option<Self>> {
        let (mut line, mut read, mut first) = (0, 0, Vec::new());
        loop {
            first.clear();
            let length = io::Read::take(&mut file, MAX_LINE as u64).read_until(b'\n', &mut first)?;
            if length == 0 {
                return Ok(Some(Self { file, kind: Kind::Lines, header: Vec::new(), line, read, ended: true }));
            }
            line += 1;
            read += length as u64;
            if !content(&first).is_empty() {
                break;
            }
        }
        let Some(kind) = Kind::of(&first) else { return Ok(None) };
        if kind == Kind::Export {
            // Its names may stand between quotes, and a line break with them.
            let (mut cell, mut breaks) = (Cell::Start, 0);
            if first.ends_with(b"\n") && !cell.through(&first, &mut breaks, true).1 {
                let rest = MAX_LINE.saturating_sub(first.len());
                let through = |bytes: &[u8], fits: bool| cell.through(bytes, &mut breaks, fits);
                let more = next_line(&mut file, &mut first, rest, through, |_| Ok(()))?;
                if !more.fits {
                    return Ok(None);
                }
                line += breaks;
                read += more.read;
            }
        }
        if !first.ends_with(b"\n") {
            first.push(b'\n');
        }
        // The first line of NDJSON is taken like the others: it is what the first piece begins with.
        Ok(Some(Self { file, kind, header: first, line, read, ended: false }))
    }

    /// What the file holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The header of the log export; empty for other files.
    pub fn header(&self) -> &[u8] {
        match self.kind {
            Kind::Export => &self.header,
            Kind::Lines => &[],
        }
    }

    /// The next lines, or `None` at the end. A line that is too long goes to `pass`, in parts as it is read.
    pub fn next(&mut self, mut pass: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        let mut piece = Piece { text: self.header.clone(), ..Piece::default() };
        let mut lines_of_text = breaks_in(&self.header);
        if self.kind == Kind::Lines && !self.header.is_empty() {
            piece.starts.push((1, 0, self.line));
            self.header.clear();
        }
        while piece.text.len() < PIECE {
            let from = piece.text.len();
            let (number, breaks, fits) = self.line(&mut piece.text, &mut pass)?;
            if !fits {
                piece.too_long.push(TooLong { line: number });
                continue;
            }
            if breaks == 0 {
                if piece.text.len() == from {
                    self.ended = true;
                    break;
                }
                // The last line of a file may lack its break.
                piece.text.push(b'\n');
            }
            if content(&piece.text[from..]).is_empty() {
                piece.text.truncate(from);
                continue;
            }
            piece.starts.push((lines_of_text + 1, from, number));
            lines_of_text += breaks.max(1);
        }
        piece.read = self.read;
        let nothing = self.ended && piece.is_empty() && piece.too_long.is_empty();
        Ok((!nothing).then_some(piece))
    }

    /// Appends the next line; says its number, the line breaks in it, and whether it fitted.
    fn line(
        &mut self,
        text: &mut Vec<u8>,
        pass: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<(u64, u64, bool)> {
        let (number, kind, mut cell, mut breaks) = (self.line + 1, self.kind, Cell::Start, 0);
        let through = |bytes: &[u8], fits: bool| match kind {
            Kind::Lines => plain(bytes),
            Kind::Export => cell.through(bytes, &mut breaks, fits),
        };
        let line = next_line(&mut self.file, text, MAX_LINE, through, pass)?;
        self.read += line.read;
        if line.ended {
            breaks += 1;
            self.line += breaks;
        }
        Ok((number, breaks, line.fits))
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Its bytes, the break included; 0 at the end of what is read.
    pub read: u64,
    /// It has a break at its end.
    pub ended: bool,
    /// It was not too long.
    pub fits: bool,
}

/// Appends the next line to `text`. One of more than `most` bytes, its break included, goes to `pass` instead, in parts as
/// it is read. `through` tells of bytes how many belong to the line and whether it ends there; it is also told whether
/// the line has fitted so far.
pub fn next_line<R: BufRead + ?Sized>(
    input: &mut R,
    text: &mut Vec<u8>,
    most: usize,
    mut through: impl FnMut(&[u8], bool) -> (usize, bool),
    mut pass: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Line> {
    let from = text.len();
    let mut line = Line { read: 0, ended: false, fits: true };
    while !line.ended {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        let (taken, ended) = through(buffer, line.fits);
        if line.fits && text.len() - from + taken > most {
            line.fits = false;
            pass(&text[from..])?;
            text.truncate(from);
        }
        if line.fits {
            text.extend_from_slice(&buffer[..taken]);
        } else {
            pass(&buffer[..taken])?;
        }
        input.consume(taken);
        line.read += taken as u64;
        line.ended = ended;
    }
    Ok(line)
}

/// Goes through bytes to the first line break.
pub fn plain(bytes: &[u8]) -> (usize, bool) {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (at + 1, true),
        None => (bytes.len(), false),
    }
}

impl Cell {
    /// Goes on through `bytes` to the end of the line: how many belong to it, and whether it ends there. Breaks between
    /// quotes are counted. In a line that `fits` no more every break ends it: an open quote would swallow the file.
    fn through(&mut self, bytes: &[u8], breaks: &mut u64, fits: bool) -> (usize, bool) {
        for (at, byte) in bytes.iter().enumerate() {
            *self = match (*self, byte) {
                (Self::Quoted, b'\n') if fits => {
                    *breaks += 1;
                    Self::Quoted
                }
                (_, b'\n') => return (at + 1, true),
                (Self::Quoted, b'"') => Self::Closing,
                (Self::Quoted, _) | (Self::Start | Self::Closing, b'"') => Self::Quoted,
                (_, b',') => Self::Start,
                _ => Self::Plain,
            };
        }
        (bytes.len(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &[u8], buffer: usize) -> (Vec<Piece>, Vec<u8>, Vec<u8>) {
        let mut cutter = Cutter::open(io::BufReader::with_capacity(buffer, text)).unwrap().unwrap();
        let (mut pieces, mut passed) = (Vec::new(), Vec::new());
        while let Some(piece) = cutter
            .next(|part| {
                passed.extend_from_slice(part);
                Ok(())
            })
            .unwrap()
        {
            pieces.push(piece);
        }
        (pieces, passed, cutter.header().to_vec())
    }

    #[test]
    fn kinds_are_told_by_the_first_line() {
        for (line, kind) in [
            ("\u{feff}generation_id,created_at\r\n", Some(Kind::Export)),
            ("\"generation_id\",x", Some(Kind::Export)),
            ("gen-1\n", Some(Kind::Lines)),
            ("\u{feff}{\"id\"", Some(Kind::Lines)),
            ("\"gen-1\"", Some(Kind::Lines)),
            ("date,amount", None),
            ("", None),
        ] {
            assert_eq!(Kind::of(line.as_bytes()), kind, "{line}");
        }
        assert!(Cutter::open(&b"date,amount\n1,2\n"[..]).unwrap().is_none());
        assert!(Cutter::open(&b"\n \n"[..]).unwrap().unwrap().next(|_| Ok(())).unwrap().is_none());
    }

    #[test]
    fn a_line_is_found_by_its_number_though_others_hold_line_breaks() {
        let text = b"generation_id,app\r\ngen-1,\"a\nb \"\"quoted\"\"\nc\"\r\n\r\ngen-2,d\"e\r\ngen-3,f";
        for buffer in [1, 2, 3, 7, 100] {
            let (pieces, _, header) = pieces(text, buffer);
            assert_eq!(header, b"generation_id,app\r\n");
            let piece = &pieces[0];
            assert_eq!(piece.lines(), 3);
            assert_eq!(piece.line(2).unwrap(), (2, &b"gen-1,\"a\nb \"\"quoted\"\"\nc\"\r\n"[..]));
            // The empty line is left out of the piece, and counted in the file.
            assert_eq!(piece.line(5).unwrap(), (6, &b"gen-2,d\"e\r\n"[..]), "{buffer}");
            assert_eq!(piece.line(6).unwrap(), (7, &b"gen-3,f\n"[..]));
        }
    }

    #[test]
    fn the_names_of_a_header_may_hold_line_breaks_and_a_mark_alone_is_no_line() {
        let text = b"generation_id,cost_total,\"a\nb\"\r\ngen-1,1,x\n\xef\xbb\xbf\n \r\ngen-2,2,y\n";
        for buffer in [1, 7, 100] {
            let (pieces, _, header) = pieces(text, buffer);
            assert_eq!(header, b"generation_id,cost_total,\"a\nb\"\r\n");
            assert_eq!(pieces[0].lines(), 2);
            assert_eq!(pieces[0].line(3).unwrap(), (3, &b"gen-1,1,x\n"[..]), "{buffer}");
            assert_eq!(pieces[0].line(4).unwrap(), (6, &b"gen-2,2,y\n"[..]), "{buffer}");
        }
        let endless = [&b"generation_id,\"\n"[..], &b"x\n".repeat(MAX_LINE / 2)].concat();
        assert!(Cutter::open(&*endless).unwrap().is_none(), "no header is that long");
        let (pieces, _, _) = pieces(b"gen-1\n\xef\xbb\xbf\ngen-2\n", 8192);
        assert_eq!(pieces[0].lines(), 2);
    }

    #[test]
    fn a_line_that_is_too_long_passes_by_and_the_rest_is_taken() {
        let long = "x".repeat(MAX_LINE + 5);
        let text = format!("gen-1\n{long}\ngen-2\n");
        let (all, passed, _) = pieces(text.as_bytes(), 8192);
        assert_eq!(passed, format!("{long}\n").into_bytes());
        assert_eq!(all.iter().flat_map(|piece| &piece.too_long).collect::<Vec<_>>(), [&TooLong { line: 2 }]);
        assert_eq!(all.iter().map(Piece::lines).sum::<usize>(), 2);
        // An open quote swallows no more than that.
        let text = format!("generation_id,app\ngen-1,\"{}\n", "y\n".repeat(MAX_LINE / 2 + 20_000)) + "gen-2,b\n";
        let (all, _, _) = pieces(text.as_bytes(), 8192);
        assert!(all.last().unwrap().text.ends_with(b"gen-2,b\n"));
    }

    proptest! {
        /// Whatever the sizes of what is read at once, the pieces together are the file, and each line has its number.
        #[test]
        fn pieces_are_the_file(lines in proptest::collection::vec("gen-[a-z]{0,40}", 1..60), buffer in 1_usize..50) {
            let text = lines.join("\n") + "\n";
            let (pieces, passed, _) = pieces(text.as_bytes(), buffer);
            let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.text.clone()).collect();
            prop_assert_eq!(joined, text.into_bytes());
            prop_assert!(passed.is_empty());
            prop_assert_eq!(pieces.iter().map(Piece::lines).sum::<usize>(), lines.len());
            for (number, line) in (1..).zip(&lines) {
                let found = pieces[0].line(number).unwrap();
                prop_assert_eq!(found.0, number);
                prop_assert_eq!(found.1.trim_ascii(), line.as_bytes());
            }
        }
    }
}
