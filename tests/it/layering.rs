//! The house's walls, read from the source: modules import only from those above them in `src/lib.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The group of `src/lib.rs` whose modules never import each other; its comment starts so.
const ADAPTERS: &str = "// Adapters";

/// The simulated OpenRouter judges the others, so it shares none of their rules.
const SIM: &str = "sim";
const SIM_IMPORTS: [&str; 3] = ["domain", "clock", "shutdown"];

/// Who may import [`SIM`]: what composes.
const COMPOSERS: [&str; 2] = ["app", "cli"];

/// The order of the modules, as `src/lib.rs` lists them.
struct Layers {
    /// Each module's rank: a module imports from lower ranks.
    ranks: BTreeMap<String, usize>,
    adapters: Vec<String>,
}

impl Layers {
    fn parse(lib: &str) -> Self {
        let (mut ranks, mut adapters, mut in_adapters) = (BTreeMap::new(), Vec::new(), false);
        for line in lib.lines() {
            if line.starts_with("// ") {
                in_adapters = line.starts_with(ADAPTERS);
            } else if let Some(name) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
                ranks.insert(name.to_owned(), ranks.len());
                if in_adapters {
                    adapters.push(name.to_owned());
                }
            }
        }
        Self { ranks, adapters }
    }

    /// Why `from` may not import `to`; `None` when it may.
    fn objection(&self, from: &str, to: &str) -> Option<String> {
        let (from_rank, to_rank) = (self.ranks.get(from)?, self.ranks.get(to)?);
        let is_adapter = |name| self.adapters.iter().any(|adapter| adapter == name);
        if from == to {
            None
        } else if from == SIM {
            (!SIM_IMPORTS.contains(&to)).then(|| format!("{SIM} imports only {}", SIM_IMPORTS.join(", ")))
        } else if to == SIM {
            (!COMPOSERS.contains(&from)).then(|| format!("only {} import {SIM}", COMPOSERS.join(" and ")))
        } else if is_adapter(from) && is_adapter(to) {
            Some("adapters never import each other".to_owned())
        } else {
            (to_rank > from_rank).then(|| format!("{to} stands below {from} in src/lib.rs"))
        }
    }
}

/// Rust text with every comment, string and character replaced by blanks; line breaks stay.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment_length(rest),
            '"' => string_length(rest, 0),
            'b' | 'c' | 'r' if !after_word => literal_length(rest),
            '\'' => character_length(rest),
            _ => 0,
        };
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (skipped, left) = rest.split_at(length);
            code.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = left;
        }
    }
    code
}

/// Block comments nest.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of a string whose opening quote stands at `quote`, without regard to what stands before it.
fn string_length(text: &str, quote: usize) -> usize {
    let mut escaped = false;
    for (at, c) in text[quote + 1..].char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return quote + 1 + at + 1,
            _ => escaped = false,
        }
    }
    text.len()
}

/// A literal that starts with a letter: `b"…"`, `c"…"`, `r#"…"#`, `br"…"`, `b'…'`; 0 when it is none (`r#type`, a name).
fn literal_length(text: &str) -> usize {
    let letters = text.bytes().take_while(|byte| matches!(byte, b'b' | b'c' | b'r')).take(2).count();
    let raw = text[..letters].contains('r');
    let hashes = text[letters..].bytes().take_while(|&byte| byte == b'#').count();
    let quote = letters + hashes;
    match text.as_bytes().get(quote) {
        Some(b'"') if raw => {
            let end = format!("\"{}", "#".repeat(hashes));
            text[quote + 1..].find(&end).map_or(text.len(), |at| quote + 1 + at + end.len())
        }
        Some(b'"') if hashes == 0 => string_length(text, quote),
        Some(b'\'') if &text[..quote] == "b" => quote + character_length(&text[quote..]),
        _ => 0,
    }
}

/// A character literal; 0 for a lifetime.
fn character_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((after, escaped))) => {
            // The escaped character itself may be a quote.
            let from = after + escaped.len_utf8();
            text[from..].find('\'').map_or(0, |at| from + at + 1)
        }
        (Some(_), Some((quote, '\''))) => quote + 1,
        _ => 0,
    }
}

/// What `code` names right behind each `prefix` (`crate::`), with the line: one name, or each of a group in braces.
fn names_behind(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let line = 1 + code[..at].matches('\n').count();
        let rest = code[at + prefix.len()..].trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut expects) = (0_usize, true);
            for (at, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => expects = true,
                    c if expects && (c.is_alphabetic() || c == '_') => {
                        found.push((line, first_name(&group[at..])));
                        expects = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.push((line, first_name(rest)));
        }
    }
    found
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// One source file.
struct File<'a> {
    /// Below `src/`.
    path: &'a Path,
    code: String,
}

impl File<'_> {
    /// The top-level module the file belongs to; empty for the crate's roots, which may import everything.
    fn module(&self) -> String {
        let first = self.path.iter().next().map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
        match first.strip_suffix(".rs") {
            Some("lib" | "main") => String::new(),
            Some(name) => name.to_owned(),
            None => first,
        }
    }

    /// Whether `super` of the file's own module is the crate.
    fn is_below_crate(&self) -> bool {
        let parts = self.path.iter().count();
        parts == 1 || (parts == 2 && self.path.ends_with("mod.rs"))
    }

    fn objections(&self, layers: &Layers) -> Vec<String> {
        let module = self.module();
        let mut imports = names_behind(&self.code, "crate::");
        if self.is_below_crate() {
            // Inside a file's inline modules `super` is the file itself, which has no such names unless it declares them.
            let supers = names_behind(&self.code, "super::").into_iter();
            imports.extend(supers.filter(|(_, name)| !self.code.contains(&format!("mod {name}"))));
        }
        let mut objections: Vec<String> = imports
            .into_iter()
            .filter_map(|(line, to)| {
                let reason = layers.objection(&module, &to)?;
                Some(format!("src/{}:{line}: {module} imports {to}: {reason}", self.path.display()))
            })
            .collect();
        let bans = [("super::super", "name the module from crate::"), ("allow(", "write #[expect(…, reason = …)]")];
        for (banned, remedy) in bans {
            for (at, _) in self.code.match_indices(banned) {
                let is_attribute = banned != "allow(" || in_attribute(&self.code[..at]);
                if is_attribute {
                    let line = 1 + self.code[..at].matches('\n').count();
                    objections.push(format!("src/{}:{line}: {banned}: {remedy}", self.path.display()));
                }
            }
        }
        objections
    }
}

/// Whether what comes next stands directly in an attribute: `#[`, `#![` or `#[cfg_attr(…, `.
fn in_attribute(before: &str) -> bool {
    let open = before.rfind("#[").max(before.rfind("#!["));
    open.is_some_and(|open| {
        let inside = before[open..].trim_start_matches(['#', '!', '[']).trim();
        inside.is_empty() || (inside.starts_with("cfg_attr(") && inside.ends_with(','))
    })
}

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn modules_import_only_from_those_above_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers = Layers::parse(&std::fs::read_to_string(src.join("lib.rs")).unwrap());
    let files = source_files(&src);
    assert!(files.len() > layers.ranks.len(), "{} files cannot hold {} modules", files.len(), layers.ranks.len());
    let mut told = String::new();
    for path in files {
        let code = code_only(&std::fs::read_to_string(&path).unwrap());
        let file = File { path: path.strip_prefix(&src).unwrap(), code };
        for objection in file.objections(&layers) {
            writeln!(told, "{objection}").unwrap();
        }
    }
    assert!(told.is_empty(), "\n{told}");
}

#[test]
fn what_breaks_the_walls_is_seen_and_what_does_not_is_not() {
    let lib = "// Base.\npub mod domain;\npub mod clock;\npub mod shutdown;\npub mod config;\n\n\
               // Adapters: apart.\npub mod journal;\npub mod store;\n\n// Services.\npub mod ledger;\npub mod sim;\npub mod app;\n";
    let layers = Layers::parse(lib);
    let objections = |path: &str, text: &str| {
        let file = File { path: Path::new(path), code: code_only(text) };
        file.objections(&layers)
    };
    for (path, text, count) in [
        ("ledger/mod.rs", "use crate::store::Store;\nuse crate::{domain::money, journal};", 0),
        ("store/mod.rs", "use crate::ledger::Ledger;", 1),
        ("store/rows.rs", "fn f() { crate::journal::open() }", 1),
        ("store.rs", "use super::journal;", 1),
        ("store/rows.rs", "use super::journal;", 0),
        ("store/mod.rs", "mod journal;\nmod tests { use super::journal; }", 0),
        ("config/mod.rs", "use crate::{domain::{ids, money}, store::{Tx, ledger}, clock};", 1),
        ("sim/mod.rs", "use crate::{clock::Clock, domain::ids, shutdown::Tasks};", 0),
        ("sim/mod.rs", "use crate::config::Config;", 1),
        ("ledger/mod.rs", "use crate::sim::Sim;", 1),
        ("app.rs", "use crate::sim::Sim;\nuse crate::ledger;", 0),
        ("lib.rs", "pub mod app;", 0),
        ("domain/mod.rs", "// use crate::store;\n/* crate::app /* nested */ crate::app */ /// crate::store\n", 0),
        ("domain/mod.rs", "let s = \"crate::store \\\" crate::app\"; let r = r#\"crate::app \" crate::app\"#;", 0),
        ("domain/mod.rs", "fn f<'a>(c: char) { if c == '\"' || c == '\\'' { crate::store::x() } }", 1),
        ("domain/mod.rs", "use super::super::store;", 1),
        ("domain/mod.rs", "#[allow(dead_code)]\n#![allow(unused)]\n#[cfg_attr(test, allow(unused))]", 3),
        ("domain/mod.rs", "#[test]\nfn f() { rules.allow(1); allow(2) }", 0),
        ("domain/mod.rs", "let b = b\"crate::app\"; let c = b'\\''; let r = br\"crate::app\\\"; let t = r#type;", 0),
    ] {
        let found = objections(path, text);
        assert_eq!(found.len(), count, "{path}: {text}: {found:?}");
    }
}
