//! Reads a query's text for what no honest query over the views needs, whichever engine runs it.
//!
//! It does not understand SQL; it knows words, strings and brackets, and refuses what it is not sure
//! of. It need not be complete: the database's own fence stands behind it.

use super::{Refusal, VIEWS};

/// Functions a query may call, on either engine.
pub(super) const FUNCTIONS: &[&str] = &[
    // Aggregates.
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "group_concat",
    "max",
    "median",
    "min",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "stddev",
    "string_agg",
    "sum",
    "total",
    "variance",
    // Windows.
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
    // Numbers.
    "abs",
    "ceil",
    "ceiling",
    "exp",
    "floor",
    "ln",
    "log",
    "log10",
    "log2",
    "mod",
    "pow",
    "power",
    "round",
    "sign",
    "sqrt",
    "trunc",
    "width_bucket",
    // Choice.
    "coalesce",
    "greatest",
    "ifnull",
    "iif",
    "least",
    "nullif",
    // Text.
    "concat",
    "concat_ws",
    "glob",
    "instr",
    "left",
    "length",
    "like",
    "lower",
    "ltrim",
    "position",
    "replace",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "trim",
    "upper",
    // Time.
    "age",
    "date",
    "date_bin",
    "date_part",
    "date_trunc",
    "datetime",
    "extract",
    "julianday",
    "make_interval",
    "now",
    "strftime",
    "time",
    "timediff",
    "to_char",
    "to_timestamp",
    "unixepoch",
    // JSON.
    "->",
    "->>",
    "json_array",
    "json_array_elements",
    "json_array_elements_text",
    "json_array_length",
    "json_each",
    "json_each_text",
    "json_extract",
    "json_extract_path_text",
    "json_group_array",
    "json_group_object",
    "json_object",
    "json_object_keys",
    "json_tree",
    "json_type",
    "json_typeof",
    "json_valid",
    // The rest.
    "cast",
    "generate_series",
    "row",
    "typeof",
];

/// Words that stand before a bracket without calling anything.
const BEFORE_BRACKET: &[&str] = &[
    "all",
    "and",
    "any",
    "as",
    "between",
    "by",
    "case",
    "char",
    "cube",
    "decimal",
    "distinct",
    "else",
    "except",
    "exists",
    "filter",
    "from",
    "grouping",
    "having",
    "ilike",
    "in",
    "intersect",
    "interval",
    "is",
    "join",
    "lateral",
    "limit",
    "materialized",
    "not",
    "numeric",
    "offset",
    "on",
    "or",
    "over",
    "rollup",
    "select",
    "sets",
    "some",
    "then",
    "timestamp",
    "union",
    "using",
    "values",
    "varchar",
    "when",
    "where",
    "with",
    "within",
];

/// Words that stand before a name with a list of columns, which looks like a call and is none.
const BEFORE_COLUMNS: &[&str] = &["as", "recursive", "with"];

/// Words a query may begin with.
const FIRST: &[&str] = &["select", "values", "with"];

/// Most parameters of a query.
const MAX_PARAMETERS: usize = 32;

/// Names that no query over the views needs: types that look names up in the catalogue, and a parser of documents that can
/// grow without end.
const NOT_HERE: &[&str] = &[
    "regclass",
    "regcollation",
    "regconfig",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "xml",
];

/// A query as the engines are given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checked<'a> {
    /// The query, without what ends it.
    pub(super) text: &'a str,
    /// Its parameters: names in the order of their first places.
    pub(super) names: Vec<&'a str>,
    /// Where they stand: from, until (with the colon; in bytes), and which of `names` it is.
    places: Vec<(usize, usize, usize)>,
    /// Its words and quoted names, in lower case, each once.
    pub(super) words: std::collections::BTreeSet<String>,
    /// Its strings, in lower case, each once: SQLite takes one for a name where only a name can stand.
    pub(super) strings: std::collections::BTreeSet<String>,
}

impl Checked<'_> {
    /// The query with its parameters as PostgreSQL knows them: `$1`, `$2` ….
    pub(super) fn numbered(&self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut from = 0;
        for &(at, until, which) in &self.places {
            out.push_str(&self.text[from..at]);
            out.push('$');
            out.push_str(&(which + 1).to_string());
            from = until;
        }
        out.push_str(&self.text[from..]);
        out
    }

    /// Where a character of [`Self::numbered`], counted from 0, stands in the query, in bytes.
    pub(super) fn place_of_numbered(&self, character: usize) -> usize {
        let (mut seen, mut from) = (0, 0);
        let within = |text: &str, left: usize| text.char_indices().nth(left).map(|(at, _)| at);
        for &(at, until, which) in &self.places {
            if let Some(found) = within(&self.text[from..at], character - seen) {
                return from + found;
            }
            seen += self.text[from..at].chars().count();
            let width = 1 + (which + 1).to_string().len();
            if character < seen + width {
                return at;
            }
            seen += width;
            from = until;
        }
        from + within(&self.text[from..], character - seen).unwrap_or(self.text.len() - from)
    }
}

/// Why a query is refused, and where, in bytes.
type Objection = (String, Option<usize>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind<'a> {
    /// A name or keyword, in lower case; a quoted name as it stands.
    Word { text: String, quoted: bool },
    /// `:name`.
    Parameter(&'a str),
    /// Anything else of a character: brackets, operators, digits.
    Mark(char),
    /// A string, and what is in it.
    Text(String),
}

#[derive(Clone, Debug)]
struct Token<'a> {
    kind: Kind<'a>,
    at: usize,
    until: usize,
}

impl Token<'_> {
    fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    fn is_plain(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word { text, quoted: false } if text == word)
    }
}

/// Refuses a query that is not plainly one reading statement; says why, and where.
pub(super) fn check(query: &str) -> Result<Checked<'_>, Refusal> {
    examine(query).map_err(|(message, at)| match at {
        Some(at) => Refusal::at(query, at, message),
        None => message.into(),
    })
}

fn examine(query: &str) -> Result<Checked<'_>, Objection> {
    let mut tokens = tokens(query)?;
    while tokens.last().is_some_and(|token| token.is_mark(';')) {
        tokens.pop();
    }
    if let Some(further) = tokens.iter().find(|token| token.is_mark(';')) {
        return Err(("one statement at a time: leave out what follows ;".to_owned(), Some(further.at)));
    }
    match tokens.first() {
        Some(Token { kind: Kind::Word { text, quoted: false }, .. }) if FIRST.contains(&text.as_str()) => {}
        Some(token) => {
            return Err(("a query begins with SELECT or WITH; nothing else is run here".to_owned(), Some(token.at)));
        }
        None => return Err(("the query is empty".to_owned(), None)),
    }
    for (at, token) in tokens.iter().enumerate() {
        let Kind::Word { text, quoted } = &token.kind else { continue };
        let here = Some(token.at);
        let lower = text.to_lowercase();
        if ["pg_", "sqlite_", "pragma_"].iter().any(|own| lower.starts_with(own)) || lower == "information_schema" {
            return Err((format!("{text} can not be read here; there are {}", VIEWS.join(", ")), here));
        }
        if NOT_HERE.contains(&lower.as_str()) {
            return Err((format!("{text} is not allowed here; give the column another name if it is one"), here));
        }
        if !tokens.get(at + 1).is_some_and(|next| next.is_mark('(')) {
            continue;
        }
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        if before.is_some_and(|before| before.is_mark('.')) {
            return Err((format!("{text}: functions are called by their names alone, without a schema"), here));
        }
        let names_columns = before.is_some_and(|before| BEFORE_COLUMNS.iter().any(|word| before.is_plain(word)));
        let plain = !quoted && BEFORE_BRACKET.contains(&text.as_str());
        if !plain && !names_columns && !FUNCTIONS.contains(&text.as_str()) {
            return Err((format!("the function {text} is not allowed here; docs/sql.md lists those that are"), here));
        }
    }
    if let Some((view, at)) = shadowed(&tokens) {
        return Err((format!("{view} is a view; give what stands in WITH another name"), Some(at)));
    }
    let mut checked = Checked {
        text: &query[..tokens.last().map_or(0, |token| token.until)],
        names: Vec::new(),
        places: Vec::new(),
        words: std::collections::BTreeSet::new(),
        strings: std::collections::BTreeSet::new(),
    };
    for token in &tokens {
        match &token.kind {
            Kind::Parameter(name) => {
                let known = checked.names.iter().position(|known| known == name);
                let which = known.unwrap_or(checked.names.len());
                if known.is_none() {
                    checked.names.push(name);
                }
                checked.places.push((token.at, token.until, which));
            }
            Kind::Word { text, .. } => {
                checked.words.insert(text.to_lowercase());
            }
            Kind::Text(text) => {
                checked.strings.insert(text.to_lowercase());
            }
            Kind::Mark(_) => {}
        }
    }
    if checked.names.len() > MAX_PARAMETERS {
        return Err((format!("more than {MAX_PARAMETERS} parameters"), None));
    }
    Ok(checked)
}

/// A view's name given to a part of WITH: `usage AS (`, with or without a list of columns.
fn shadowed(tokens: &[Token<'_>]) -> Option<(&'static str, usize)> {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is_plain(word));
    let is_mark = |at: usize, mark: char| tokens.get(at).is_some_and(|token| token.is_mark(mark));
    tokens.iter().enumerate().find_map(|(at, token)| {
        let Kind::Word { text, .. } = &token.kind else { return None };
        let view = VIEWS.iter().find(|view| view.eq_ignore_ascii_case(text))?;
        let mut next = at + 1;
        if is_mark(next, '(') {
            next += tokens[next..].iter().position(|token| token.is_mark(')'))? + 1;
        }
        if !is(next, "as") {
            return None;
        }
        next += 1;
        while is(next, "not") || is(next, "materialized") {
            next += 1;
        }
        is_mark(next, '(').then_some((*view, token.at))
    })
}

fn tokens(query: &str) -> Result<Vec<Token<'_>>, Objection> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let mut rest = query;
    if let Some(at) = query.find('\0') {
        return Err(("a NUL character is not understood here; leave it out".to_owned(), Some(at)));
    }
    while let Some(first) = rest.chars().next() {
        let at = query.len() - rest.len();
        let wrong = |message: &str| Err((message.to_owned(), Some(at)));
        if let Some(after) = rest.strip_prefix("--") {
            rest = after.find('\n').map_or("", |end| &after[end..]);
        } else if let Some(after) = rest.strip_prefix("/*") {
            let Some(end) = after.find("*/") else { return wrong("a comment does not end; close it with */") };
            // The engines disagree on comments within comments.
            if after[..end].contains("/*") {
                return wrong("a comment within a comment");
            }
            rest = &after[end + 2..];
        } else if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else {
            let (kind, after) =
                token(rest, tokens.last(), query[..at].chars().next_back()).map_err(|message| (message, Some(at)))?;
            rest = after;
            tokens.push(Token { kind, at, until: query.len() - rest.len() });
        }
    }
    Ok(tokens)
}

/// The token at the beginning of `rest`, and what follows it; `before` is the token before, `character` what stands right
/// before.
fn token<'a>(
    rest: &'a str,
    before: Option<&Token<'_>>,
    character: Option<char>,
) -> Result<(Kind<'a>, &'a str), String> {
    let first = rest.chars().next().unwrap_or_default();
    let behind_word = character.is_some_and(is_word);
    if first == '\'' {
        if behind_word && matches!(before, Some(Token { kind: Kind::Word { .. }, .. })) {
            return Err(
                "a string with a letter before it (E'…', X'…', U&'…') is not understood here; write a plain '…'"
                    .to_owned(),
            );
        }
        let (text, after) = quoted(rest, '\'').ok_or("a string does not end; close it with '")?;
        return Ok((Kind::Text(text), after));
    }
    let quote = match first {
        '"' => Some('"'),
        '`' => Some('`'),
        '[' if !is_subscript(before) => Some(']'),
        _ => None,
    };
    if let Some(end) = quote {
        let (name, after) = quoted(rest, end).ok_or("a quoted name does not end")?;
        return Ok((Kind::Word { text: name, quoted: true }, after));
    }
    if matches!(first, '$' | '?' | '@' | '#' | '\\') {
        return Err(format!("'{}' is not understood here; a parameter is written :name", first.escape_default()));
    }
    if matches!(first, 'U' | 'u') && rest[1..].starts_with('&') {
        return Err("U& is not understood here".to_owned());
    }
    // A cast is written with two colons.
    if first == ':' && character != Some(':') && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        let end = 1 + rest[1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len() - 1);
        if rest[end..].starts_with(is_word) {
            return Err("a parameter's name is made of the letters a to z, digits and _".to_owned());
        }
        return Ok((Kind::Parameter(&rest[1..end]), &rest[end..]));
    }
    if first.is_alphabetic() || first == '_' {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        return Ok((Kind::Word { text: rest[..end].to_lowercase(), quoted: false }, &rest[end..]));
    }
    Ok((Kind::Mark(first), &rest[first.len_utf8()..]))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a bracket after this is an array's subscript, not a name in SQLite's third way of quoting.
fn is_subscript(before: Option<&Token<'_>>) -> bool {
    before.is_some_and(|token| matches!(token.kind, Kind::Word { quoted: true, .. } | Kind::Mark(')' | ']')))
}

/// The text between the first character and `end` (doubled, it stands for itself), and what follows.
fn quoted(rest: &str, end: char) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != end {
            text.push(c);
        } else if end != ']' && chars.peek().is_some_and(|(_, next)| *next == end) {
            text.push(c);
            chars.next();
        } else {
            return Some((text, &rest[at + end.len_utf8()..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn honest_queries_pass() {
        for query in [
            "SELECT 1",
            "select model, sum(cost_usd) from usage where created_ms > 0 group by 1 order by 2 desc limit 10;",
            "WITH days AS (SELECT day, SUM(cost_usd) AS usd FROM spend_by_day GROUP BY day) SELECT * FROM days",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n",
            "SELECT \"app\", [model], `key_name` FROM usage -- it's a comment; really\n",
            "SELECT 'it''s; fine' /* so is this */ FROM usage WHERE app IN ('a', 'b') AND (cost_usd > 1)",
            "SELECT row_number() OVER (PARTITION BY app) FROM usage",
            "SELECT CAST(cost_usd AS NUMERIC(10, 2)) FROM usage",
            "SELECT cost_usd::numeric FROM usage WHERE app = :app AND created_ms >= :since_ms",
        ] {
            assert!(check(query).is_ok(), "{query}: {:?}", check(query));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for query in [
            "",
            ";",
            "DELETE FROM calls",
            "SELECT 1; DROP TABLE calls",
            "PRAGMA table_info(calls)",
            "COPY usage TO '/tmp/x'",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT * FROM pg_shadow",
            "SELECT * FROM information_schema.tables",
            "SELECT * FROM sqlite_master",
            "SELECT \"set_config\"('role', 'none', false)",
            "SELECT set_config /* */ ('role', 'none', false)",
            "SELECT query_to_xml('select 1', true, true, '')",
            "SELECT load_extension('x')",
            "SELECT E'\\' , pg_sleep(9) --'",
            "SELECT U&'\\0061'",
            "SELECT $$ ' $$, pg_sleep(9), $$ ' $$",
            "SELECT /* /* */ pg_sleep(9) /* */ */ 1",
            "SELECT 'open",
            "WITH usage AS (SELECT * FROM calls) SELECT * FROM usage",
            "WITH \"Usage\"(a) AS NOT MATERIALIZED (SELECT * FROM calls) SELECT * FROM usage",
            "VACUUM",
            "SELECT ?1",
            "EXPLAIN SELECT 1",
            "SELECT 1\0",
            "SELECT public.sum(cost_usd) FROM usage",
            "SELECT 'calls'::regclass",
            "SELECT CAST('<a/>' AS xml)",
            "SELECT * FROM PRAGMA_table_info",
            "SELECT :größe",
        ] {
            assert!(check(query).is_err(), "{query}");
        }
    }

    #[test]
    fn parameters_are_numbered_and_places_found_again() {
        let query = "SELECT ':x', :a::text, :b, 'ü' -- :c\nFROM usage WHERE app = :a ; ;\n";
        let checked = check(query).unwrap();
        assert_eq!(checked.names, ["a", "b"]);
        let numbered = checked.numbered();
        assert_eq!(numbered, "SELECT ':x', $1::text, $2, 'ü' -- :c\nFROM usage WHERE app = $1");
        for word in ["SELECT", "text", "'ü'", "usage", "app"] {
            let character = numbered[..numbered.find(word).unwrap()].chars().count();
            assert_eq!(checked.place_of_numbered(character), query.find(word).unwrap(), "{word}");
        }
        assert_eq!(checked.place_of_numbered(numbered.chars().count()), checked.text.len());
    }

    #[test]
    fn an_objection_names_its_place() {
        let refusal = check("SELECT 1,\n  pg_sleep(9)").unwrap_err();
        assert!(refusal.to_string().ends_with("(line 2, column 3)"), "{refusal}");
    }

    #[test]
    fn no_text_makes_it_panic() {
        for text in [
            "'", "\"", "[", ":", "::", ":é", "u", "U&", "é'", "a'b", "/*", "--", ";", "((((", "\u{0}", "$", "x.:y(",
            "'' ''",
        ] {
            for prefix in ["", "SELECT ", "WITH x AS (", "SELECT é"] {
                let _ = check(&format!("{prefix}{text}"));
            }
        }
    }
}
