//! What others say in a reply, as far as it may be kept: short, and without mail addresses.

/// Longest part of a server's reply or a system's message kept, in characters.
const MAX_REASON: usize = 200;

/// `text` on one line, bounded, without words that look like a mail address.
pub fn discreet(text: &str) -> String {
    let mut kept = String::new();
    for word in text.split_whitespace() {
        if !kept.is_empty() {
            kept.push(' ');
        }
        if word.contains('@') {
            kept.push('…');
        } else {
            kept.extend(word.chars().filter(|c| !c.is_control()));
        }
        if let Some((cut, _)) = kept.char_indices().nth(MAX_REASON) {
            kept.truncate(cut);
            kept.push('…');
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_kept_short_and_without_addresses() {
        assert_eq!(
            discreet("550 5.1.1 <lena@example.com>: Recipient\r\naddress rejected"),
            "550 5.1.1 … Recipient address rejected"
        );
        let long = discreet(&"word ".repeat(1000));
        assert_eq!(long.chars().count(), MAX_REASON + 1);
        assert_eq!(discreet("a\u{7}b"), "ab");
    }
}
