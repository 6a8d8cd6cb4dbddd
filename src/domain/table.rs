//! A result of rows and columns, whatever asked for it: SQL, a report, an export.

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Unknown or absent.
    Null,
    /// A whole number.
    Integer(i64),
    /// A rounded number.
    Real(f64),
    /// An exact decimal number, as text.
    Decimal(String),
    /// True or false.
    Boolean(bool),
    /// Text.
    Text(String),
}

impl Cell {
    /// Whether it is set to the right in a table.
    pub const fn is_number(&self) -> bool {
        matches!(self, Self::Integer(_) | Self::Real(_) | Self::Decimal(_))
    }
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.to_owned()))
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

/// Rows under named columns; every row has as many cells as there are columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// Why rows are missing at the end (a limit was reached); `None` when all are here.
    pub cut: Option<String>,
}
