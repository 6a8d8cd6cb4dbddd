//! Charts as inline SVG: figures in, markup out. Nothing is decided here: not what is shown, not in what order.
//!
//! Lengths are percent across and pixels up, so that text keeps its size at every width; only lines and
//! bands sit in an inner view box that stretches. Colours and textures are classes of the stylesheet.

pub(super) mod answer;
pub(super) mod budget;
pub(super) mod burn;
pub(super) mod lines;
pub(super) mod plot;
pub(super) mod run;
pub(super) mod spark;
pub(super) mod stack;

/// Text as it may stand in markup, in an attribute or between tags.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_in_a_name_is_markup() {
        assert_eq!(super::escape("<b a=\"'&"), "&lt;b a=&quot;&#39;&amp;");
    }
}
