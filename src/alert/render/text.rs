//! The plain part: the same as the HTML one, in 72 columns.

use super::view::{budget_url, dearest_title, end_user, model, name, others, percent, title, tokens, when};
use super::{plain, words};
use crate::alert::facts::{Change, DearCall, Drivers, Letter, Section};
use crate::report::format;

/// Columns a line fills; links and long names may be longer.
const WIDTH: usize = 72;

/// Characters of a bar.
const BAR: usize = 40;

/// Columns of a driver's name; a longer one stands on a line of its own.
const NAME: usize = 36;

/// The whole part.
pub(super) fn text(letter: &Letter) -> String {
    let mut page = Page::default();
    for (position, section) in letter.sections.iter().enumerate() {
        if position > 0 {
            page.line(&"=".repeat(WIDTH));
            page.gap();
        }
        page.section(section, letter);
    }
    page.line(&format!("All alerts  {}/alerts", letter.dashboard_url));
    page.gap();
    page.line("-- ");
    for section in &letter.sections {
        let small = words::small_print(section, letter.composed_at);
        page.paragraph(&if letter.sections.len() > 1 { format!("{}: {small}", section.budget.name) } else { small });
    }
    page.0.truncate(page.0.trim_end().len());
    page.0.push('\n');
    plain(&page.0)
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn gap(&mut self) {
        self.0.push('\n');
    }

    /// Wrapped lines and the gap after them.
    fn paragraph(&mut self, text: &str) {
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

    fn section(&mut self, section: &Section, letter: &Letter) {
        let budget = &section.budget;
        self.paragraph(&format!("{}: {} ({})", budget.name, words::headline(section), budget.zone.name()));
        self.paragraph(&format!("{} of {}", format::usd(section.spent), format::usd(budget.limit)));
        for sentence in words::heading(section).into_iter().chain(words::notes(section)) {
            self.paragraph(&sentence);
        }
        self.bars(section);
        self.paragraph(&format!(
            "Window: {}. Counts: {}.",
            words::window_title(budget.window, &section.window, budget.zone),
            budget.scope
        ));
        for drivers in &section.drivers {
            self.drivers(drivers, section, &words::compared(section, letter.composed_at));
        }
        self.dearest(section);
        self.line("WHAT HAPPENS NEXT");
        self.paragraph(&words::next(section).join(" "));
        self.line(&format!("Open the budget  {}", budget_url(section, &letter.dashboard_url)));
        self.gap();
    }

    fn bars(&mut self, section: &Section) {
        let spent = section.spent.basis_points_of(section.budget.limit).map(|share| ("Spent", share));
        let bars: Vec<_> = spent.into_iter().chain(words::gone(section)).collect();
        let label = bars.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
        for (name, share) in &bars {
            let filled = usize::try_from(percent(*share)).unwrap_or(0) * BAR / 100;
            let bar = format!("{}{}", "#".repeat(filled), ".".repeat(BAR - filled));
            let figure = format::share(*share);
            self.line(&format!("{name:label$}  [{bar}]  {figure:>9}"));
        }
        if !bars.is_empty() {
            self.gap();
        }
    }

    fn drivers(&mut self, drivers: &Drivers, section: &Section, compared: &str) {
        self.line(&format!("{} ({compared})", title(drivers.by).to_uppercase()));
        for driver in &drivers.rows {
            self.change(&name(driver), &driver.cost, section);
        }
        if drivers.others.names > 0 {
            self.change(&others(drivers), &drivers.others.cost, section);
        }
        self.change(section.budget.name.as_str(), &drivers.all, section);
        self.gap();
    }

    fn change(&mut self, name: &str, cost: &Change, section: &Section) {
        let after = format::usd(cost.after);
        let figures = if section.before.is_some() {
            format!("{:>10}  {:>9} -> {after:>9}", format::usd_change(cost.rise()), format::usd(cost.before))
        } else {
            format!("{after:>10}")
        };
        self.columns(name, &figures);
    }

    /// A name and its figures, on two lines where the name is long.
    fn columns(&mut self, name: &str, figures: &str) {
        if name.chars().count() > NAME {
            self.line(&format!("  {name}"));
            self.line(&format!("  {:NAME$}{figures}", ""));
        } else {
            self.line(&format!("  {name:NAME$}{figures}"));
        }
    }

    fn dearest(&mut self, section: &Section) {
        let Some((title, share)) = dearest_title(section) else { return };
        self.line(&format!("{} ({share})", title.to_uppercase()));
        let rows: Vec<[String; 4]> = section.dearest.iter().map(|call| call_columns(section, call)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths = [width(0), width(1), width(2)];
        for [cost, model, when, rest] in &rows {
            let line =
                format!("  {cost:>c$}  {model:m$}  {when:w$}{rest}", c = widths[0], m = widths[1], w = widths[2]);
            self.line(line.trim_end());
        }
        self.gap();
    }
}

/// Cost, model without its maker, time, and what else is known.
fn call_columns(section: &Section, call: &DearCall) -> [String; 4] {
    let model = model(call);
    let short = model.rsplit('/').next().unwrap_or(&model).to_owned();
    let tokens = tokens(call).map(|(prompt, completion)| format!("  {prompt} in {completion} out")).unwrap_or_default();
    let user = end_user(call).map(|user| format!("  {user}")).unwrap_or_default();
    [format::call_usd(call.cost), short, when(section, call.created_at), format!("{tokens}{user}")]
}
