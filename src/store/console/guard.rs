//! Reads a query's text for what no honest query over the views needs, whichever engine runs it.
//!
//! It does not understand SQL; it knows words, strings and brackets, and refuses what it is not sure
//! of. It need not be complete: the database's own fence stands behind it.

use super::VIEWS;

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
const FIRST: &[&str] = &["explain", "select", "values", "with"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A name or keyword, in lower case; a quoted name as it stands.
    Word { text: String, quoted: bool },
    /// Anything else of a character: brackets, operators, digits.
    Mark(char),
    /// A string.
    Text,
}

/// Refuses a query that is not plainly one reading statement; says why.
pub(super) fn check(query: &str) -> Result<(), String> {
    let mut tokens = tokens(query)?;
    while tokens.last() == Some(&Token::Mark(';')) {
        tokens.pop();
    }
    if tokens.contains(&Token::Mark(';')) {
        return Err("one statement at a time".to_owned());
    }
    match tokens.first() {
        Some(Token::Word { text, quoted: false }) if FIRST.contains(&text.as_str()) => {}
        Some(_) => return Err("a query begins with SELECT or WITH".to_owned()),
        None => return Err("the query is empty".to_owned()),
    }
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word { text, quoted } = token else { continue };
        if text.starts_with("pg_") || text == "information_schema" || text.starts_with("sqlite_") {
            return Err(format!("{text} can not be read here; there are {}", VIEWS.join(", ")));
        }
        let calls = tokens.get(at + 1) == Some(&Token::Mark('('));
        if !calls {
            continue;
        }
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let names_columns =
            matches!(before, Some(Token::Word { text, quoted: false }) if BEFORE_COLUMNS.contains(&text.as_str()));
        let plain = !quoted && BEFORE_BRACKET.contains(&text.as_str());
        if !plain && !names_columns && !FUNCTIONS.contains(&text.as_str()) {
            return Err(format!("the function {text} is not allowed here"));
        }
    }
    if let Some(view) = shadowed(&tokens) {
        return Err(format!("{view} is a view; give what stands in WITH another name"));
    }
    Ok(())
}

/// A view's name given to a part of WITH: `usage AS (`, with or without a list of columns.
fn shadowed(tokens: &[Token]) -> Option<&str> {
    let is =
        |at: usize, word: &str| matches!(tokens.get(at), Some(Token::Word { text, quoted: false }) if text == word);
    tokens.iter().enumerate().find_map(|(at, token)| {
        let Token::Word { text, .. } = token else { return None };
        let view = VIEWS.iter().find(|view| view.eq_ignore_ascii_case(text))?;
        let mut next = at + 1;
        if tokens.get(next) == Some(&Token::Mark('(')) {
            next += tokens[next..].iter().position(|token| *token == Token::Mark(')'))? + 1;
        }
        if !is(next, "as") {
            return None;
        }
        next += 1;
        while is(next, "not") || is(next, "materialized") {
            next += 1;
        }
        (tokens.get(next) == Some(&Token::Mark('('))).then_some(*view)
    })
}

fn tokens(query: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("--") {
            rest = after.find('\n').map_or("", |end| &after[end..]);
        } else if let Some(after) = rest.strip_prefix("/*") {
            let end = after.find("*/").ok_or("a comment does not end")?;
            // The engines disagree on comments within comments.
            if after[..end].contains("/*") {
                return Err("a comment within a comment".to_owned());
            }
            rest = &after[end + 2..];
        } else if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if first == '\'' {
            if matches!(tokens.last(), Some(Token::Word { .. })) && query[..query.len() - rest.len()].ends_with(is_word)
            {
                return Err(
                    "a string with a letter before it (E'…', X'…', U&'…') is not understood here; write a plain '…'"
                        .to_owned(),
                );
            }
            let (_, after) = quoted(rest, '\'').ok_or("a string does not end")?;
            tokens.push(Token::Text);
            rest = after;
        } else if let Some(end) = match first {
            '"' => Some('"'),
            '`' => Some('`'),
            '[' if !is_subscript(tokens.last()) => Some(']'),
            _ => None,
        } {
            let (name, after) = quoted(rest, end).ok_or("a quoted name does not end")?;
            tokens.push(Token::Word { text: name, quoted: true });
            rest = after;
        } else if first == '$' || first == '?' || first == '@' || first == '#' || first == '\\' || first == '\0' {
            return Err(format!("'{}' is not understood here", first.escape_default()));
        } else if first == 'U' || first == 'u' {
            if rest[1..].starts_with('&') {
                return Err("U& is not understood here".to_owned());
            }
            rest = word(rest, &mut tokens);
        } else if first.is_alphabetic() || first == '_' {
            rest = word(rest, &mut tokens);
        } else {
            tokens.push(Token::Mark(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a bracket after this is an array's subscript, not a name in SQLite's third way of quoting.
fn is_subscript(before: Option<&Token>) -> bool {
    matches!(before, Some(Token::Word { quoted: true, .. } | Token::Mark(')' | ']')))
}

fn word<'a>(rest: &'a str, tokens: &mut Vec<Token>) -> &'a str {
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    tokens.push(Token::Word { text: rest[..end].to_lowercase(), quoted: false });
    &rest[end..]
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
            "EXPLAIN SELECT 1",
        ] {
            assert_eq!(check(query), Ok(()), "{query}");
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
        ] {
            assert!(check(query).is_err(), "{query}");
        }
    }
}
