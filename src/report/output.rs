//! One [`Table`] in the three forms people take it away in: aligned text, JSON, CSV.

use std::io::{self, Write};

use comfy_table::{Attribute, CellAlignment, Color, ColumnConstraint, ContentArrangement, presets};
use serde_json::Value;

use crate::domain::table::{Cell, Table};

/// Integers beyond ±(2⁵³ − 1) lose digits in many JSON readers; they are written as strings.
const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// What a spreadsheet takes for the beginning of a formula.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// `--format` of the commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns for the eye.
    #[default]
    Table,
    /// An array of objects.
    Json,
    /// Comma-separated values; cells that a spreadsheet would run are defused.
    Csv,
}

/// Writes `table` in `format`.
pub fn write(table: &Table, format: Format, out: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Table => writeln!(out, "{}", text(table, Look::default())),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &json(table))?;
            writeln!(out)
        }
        Format::Csv => csv(table, out),
    }
}

/// The rows as an array of objects, in the columns' order. Of columns with one name, the second is called `name_2`.
pub fn json(table: &Table) -> Vec<serde_json::Map<String, Value>> {
    let names = distinct(&table.columns);
    let object = |row: &Vec<Cell>| names.iter().cloned().zip(row.iter().map(json_value)).collect();
    table.rows.iter().map(object).collect()
}

fn distinct(columns: &[String]) -> Vec<String> {
    let mut taken = std::collections::HashSet::new();
    let name_of = |column: &String| {
        let numbered = (2..).map(|number| format!("{column}_{number}"));
        // Names end before numbers do.
        let name = std::iter::once(column.clone()).chain(numbered).find(|name| !taken.contains(name));
        let name = name.unwrap_or_default();
        taken.insert(name.clone());
        name
    };
    columns.iter().map(name_of).collect()
}

fn json_value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) if number.unsigned_abs() <= SAFE_INTEGER => Value::from(*number),
        Cell::Integer(number) => Value::String(number.to_string()),
        Cell::Real(number) => serde_json::Number::from_f64(*number).map_or(Value::Null, Value::Number),
        Cell::Decimal(text) | Cell::Text(text) => Value::String(text.clone()),
        Cell::Boolean(truth) => Value::Bool(*truth),
    }
}

/// Writes CSV with a head line (RFC 4180).
pub fn csv(table: &Table, out: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    writer.write_record(&table.columns).map_err(io_error)?;
    for row in &table.rows {
        let cells = row.iter().map(|cell| match cell {
            Cell::Text(text) => defused(text),
            other => plain(other),
        });
        writer.write_record(cells).map_err(io_error)?;
    }
    writer.flush()
}

/// What the writer below said, with its kind: the library's own conversion forgets that.
pub fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// A text as a CSV cell: one that a spreadsheet would run begins with an apostrophe.
pub fn defused(text: &str) -> String {
    if text.starts_with(FORMULA_STARTS) { format!("'{text}") } else { text.to_owned() }
}

/// A cell as CSV and tables have it: as stored, without separators and signs; nothing for NULL.
pub fn plain(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Decimal(text) | Cell::Text(text) => text.clone(),
        Cell::Boolean(truth) => truth.to_string(),
    }
}

/// What a terminal can show; without one, nothing is coloured and nothing is broken into lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Whether heads and what is amiss stand out by colour.
    pub colour: bool,
    /// Characters in a line; `None`: as many as a row takes.
    pub width: Option<u16>,
}

/// Columns of counts in which anything but 0 is worth a look, and their colours.
const AMISS: [(&str, Color); 2] = [("failures", Color::Red), ("unknown", Color::Yellow)];

/// A table as aligned text.
pub fn text(table: &Table, look: Look) -> String {
    let mut out = comfy_table::Table::new();
    out.load_style(presets::NOTHING);
    // What the library would find out of standard output is told it instead.
    out.force_no_tty();
    if look.colour {
        out.enforce_styling();
    }
    out.set_content_arrangement(match look.width {
        Some(_) => ContentArrangement::Dynamic,
        None => ContentArrangement::Disabled,
    });
    if let Some(width) = look.width {
        out.set_width(width);
    }
    out.set_header(table.columns.iter().map(|name| comfy_table::Cell::new(name).add_attribute(Attribute::Bold)));
    for row in &table.rows {
        out.add_row(row.iter().zip(&table.columns).map(|(cell, column)| {
            // Control characters in a label must not reach the terminal.
            let shown: String = plain(cell).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            let colour = AMISS.iter().find(|(name, _)| name == column && !matches!(cell, Cell::Integer(0)));
            let shown = comfy_table::Cell::new(shown);
            colour.map_or(shown.clone(), |(_, colour)| shown.fg(*colour))
        }));
    }
    for (index, column) in out.column_iter_mut().enumerate() {
        let numbers = table.rows.iter().any(|row| row[index].is_number());
        let text = table.rows.iter().any(|row| matches!(row[index], Cell::Text(_) | Cell::Boolean(_)));
        column.set_cell_alignment(if numbers && !text { CellAlignment::Right } else { CellAlignment::Left });
        if numbers && !text {
            // A number that is broken into lines is read as another one.
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    out.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            columns: vec!["app".to_owned(), "n".to_owned(), "cost_usd".to_owned()],
            rows: vec![
                vec![
                    Cell::Text("=1+1".to_owned()),
                    Cell::Integer(9_007_199_254_740_993),
                    Cell::Decimal("0.10".to_owned()),
                ],
                vec![Cell::Null, Cell::Integer(-1), Cell::Null],
            ],
            cut: None,
        }
    }

    fn written(format: Format) -> String {
        let mut out = Vec::new();
        write(&table(), format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_defuses_text_and_leaves_numbers() {
        assert_eq!(written(Format::Csv), "app,n,cost_usd\r\n'=1+1,9007199254740993,0.10\r\n,-1,\r\n");
    }

    #[test]
    fn the_least_integer_is_a_string_like_every_great_one() {
        for (number, json) in [(i64::MIN, Value::from("-9223372036854775808")), (-5, Value::from(-5))] {
            assert_eq!(json_value(&Cell::Integer(number)), json);
        }
    }

    #[test]
    fn columns_of_one_name_are_all_in_json() {
        let names: Vec<String> = ["x", "x", "x_2", "x"].map(str::to_owned).into();
        assert_eq!(distinct(&names), ["x", "x_2", "x_2_2", "x_3"]);
    }

    #[test]
    fn a_terminal_has_its_width_and_its_colours_and_nothing_else_has() {
        let mut wide = table();
        wide.columns[1] = "failures".to_owned();
        wide.rows[0][0] = Cell::Text("a label of many words that takes more than one line".to_owned());
        let narrow = text(&wide, Look { colour: false, width: Some(50) });
        assert!(narrow.lines().all(|line| line.chars().count() <= 50), "{narrow}");
        assert!(narrow.contains("9007199254740993") && narrow.lines().count() > 3, "{narrow}");
        let coloured = text(&wide, Look { colour: true, width: None });
        assert!(coloured.contains("\u{1b}[1m") && coloured.contains("\u{1b}[38;5;9m"), "{coloured:?}");
        assert!(!text(&wide, Look::default()).contains('\u{1b}'));
    }

    #[test]
    fn json_keeps_every_digit() {
        let rows: Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(rows[0]["n"], "9007199254740993");
        assert_eq!(rows[0]["cost_usd"], "0.10");
        assert_eq!(rows[1]["n"], -1);
        assert_eq!(rows[1]["app"], Value::Null);
    }
}
