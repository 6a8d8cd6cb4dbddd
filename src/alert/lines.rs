//! Plain text as mails have it: wrapped at 72 columns, figures in columns, bars of signs.

use super::facts::{Change, Drivers};
use super::render::{name, others, plain, title};
use crate::report::format;

/// Columns a line fills; links and long names may be longer.
pub(super) const WIDTH: usize = 72;

/// Characters of a bar.
const BAR: usize = 40;

/// Columns of a name; a longer one stands on a line of its own.
const NAME: usize = 36;

/// A part that is being written.
#[derive(Default)]
pub(super) struct Lines(String);

impl Lines {
    pub(super) fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    pub(super) fn gap(&mut self) {
        self.0.push('\n');
    }

    /// Wrapped lines and the gap after them.
    pub(super) fn paragraph(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.line(&line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line);
        self.gap();
    }

    /// A name and its figures, on two lines where the name is long.
    pub(super) fn columns(&mut self, name: &str, figures: &str) {
        if name.chars().count() > NAME {
            self.line(&format!("  {name}"));
            self.line(&format!("  {:NAME$}{figures}", ""));
        } else {
            self.line(&format!("  {name:NAME$}{figures}"));
        }
    }

    /// A table of drivers; `all` names its last row, `compared` says with what.
    pub(super) fn drivers(&mut self, drivers: &Drivers, is_compared: bool, all: &str, compared: &str) {
        self.line(&format!("{} ({compared})", title(drivers.by).to_uppercase()));
        for driver in &drivers.rows {
            self.change(&name(driver), &driver.cost, is_compared);
        }
        if drivers.others.names > 0 {
            self.change(&others(drivers), &drivers.others.cost, is_compared);
        }
        self.change(all, &drivers.all, is_compared);
        self.gap();
    }

    fn change(&mut self, name: &str, cost: &Change, is_compared: bool) {
        let after = format::usd(cost.after);
        let figures = if is_compared {
            format!("{:>10}  {:>9} -> {after:>9}", format::usd_change(cost.rise()), format::usd(cost.before))
        } else {
            format!("{after:>10}")
        };
        self.columns(name, &figures);
    }

    /// The whole part, in plain spaces, ended by one line break.
    pub(super) fn finish(mut self) -> String {
        self.0.truncate(self.0.trim_end().len());
        self.0.push('\n');
        plain(&self.0)
    }
}

/// A bar of `percent`, 0 to 100.
pub(super) fn bar(percent: i64) -> String {
    let filled = usize::try_from(percent).unwrap_or(0).min(100) * BAR / 100;
    format!("{}{}", "#".repeat(filled), ".".repeat(BAR - filled))
}
