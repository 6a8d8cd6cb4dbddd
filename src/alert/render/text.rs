//! The plain part: the same as the HTML one, in 72 columns.

use super::view::{budget_url, dearest_title, end_user, model, percent, tokens, when};
use super::words;
use crate::alert::facts::{DearCall, Letter, Section};
use crate::alert::lines::{Lines, WIDTH, bar};
use crate::report::format;

/// The whole part.
pub(super) fn text(letter: &Letter) -> String {
    let mut page = Lines::default();
    for (position, section) in letter.sections.iter().enumerate() {
        if position > 0 {
            page.line(&"=".repeat(WIDTH));
            page.gap();
        }
        write(&mut page, section, letter);
    }
    page.line(&format!("All alerts  {}/alerts", letter.dashboard_url));
    page.gap();
    page.line("-- ");
    for section in &letter.sections {
        let small = words::small_print(section, letter.composed_at);
        page.paragraph(&if letter.sections.len() > 1 { format!("{}: {small}", words::whose(section)) } else { small });
    }
    page.finish()
}

fn write(page: &mut Lines, section: &Section, letter: &Letter) {
    let budget = &section.budget;
    page.paragraph(&format!("{}: {} ({})", words::whose(section), words::headline(section), budget.zone.name()));
    page.paragraph(&format!("{} of {}", format::usd(section.spent), format::usd(budget.limit)));
    for sentence in words::heading(section).into_iter().chain(words::notes(section)) {
        page.paragraph(&sentence);
    }
    bars(page, section);
    page.paragraph(&format!(
        "Window: {}. Counts: {}.",
        words::window_title(budget.window, &section.window, budget.zone),
        budget.scope
    ));
    for drivers in &section.drivers {
        let compared = words::compared(section, letter.composed_at);
        page.drivers(drivers, section.before.is_some(), budget.name.as_str(), &compared);
    }
    dearest(page, section);
    page.line("WHAT HAPPENS NEXT");
    page.paragraph(&words::next(section).join(" "));
    let snooze = section
        .snooze
        .as_ref()
        .map(|snooze| (words::snooze(section, snooze), format!("{}{}", letter.dashboard_url, snooze.path)));
    let links: Vec<(String, String)> = [("Open the budget".to_owned(), budget_url(section, &letter.dashboard_url))]
        .into_iter()
        .chain(snooze)
        .collect();
    let width = links.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    for (label, url) in links {
        page.line(&format!("{label:width$}  {url}"));
    }
    page.gap();
}

fn bars(page: &mut Lines, section: &Section) {
    let spent = section.spent.basis_points_of(section.budget.limit).map(|share| ("Spent", share));
    let bars: Vec<_> = spent.into_iter().chain(words::gone(section)).collect();
    let label = bars.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    for (name, share) in &bars {
        let bar = bar(percent(*share));
        let figure = format::share(*share);
        page.line(&format!("{name:label$}  [{bar}]  {figure:>9}"));
    }
    if !bars.is_empty() {
        page.gap();
    }
}

fn dearest(page: &mut Lines, section: &Section) {
    let Some((title, share)) = dearest_title(section) else { return };
    page.line(&format!("{} ({share})", title.to_uppercase()));
    let rows: Vec<[String; 4]> = section.dearest.iter().map(|call| call_columns(section, call)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    for [cost, model, when, rest] in &rows {
        let line = format!("  {cost:>c$}  {model:m$}  {when:w$}{rest}", c = widths[0], m = widths[1], w = widths[2]);
        page.line(line.trim_end());
    }
    page.gap();
}

/// Cost, model without its maker, time, and what else is known.
fn call_columns(section: &Section, call: &DearCall) -> [String; 4] {
    let model = model(call);
    let short = model.rsplit('/').next().unwrap_or(&model).to_owned();
    let tokens = tokens(call).map(|(prompt, completion)| format!("  {prompt} in {completion} out")).unwrap_or_default();
    let user = end_user(call).map(|user| format!("  {user}")).unwrap_or_default();
    [format::call_usd(call.cost), short, when(section, call.created_at), format!("{tokens}{user}")]
}
