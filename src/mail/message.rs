//! One mail as it goes over the wire: headers, then the same text plain and as HTML.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use lettre::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use sha2::{Digest as _, Sha256};

use super::error::SendError;
use crate::domain::time::Timestamp;

/// A mail to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What stands in `Message-ID`, without the angle brackets: `something@a.domain`. The same text sent twice is the same mail.
    pub message_id: String,
    /// The recipient's address.
    pub to: String,
    /// The subject, unencoded.
    pub subject: String,
    /// The plain part; lines end with `\n`.
    pub text: String,
    /// The HTML part, a whole document.
    pub html: String,
    /// PNG pictures that the HTML part shows as `cid:…`, by their Content-IDs without angle brackets.
    pub pictures: Vec<(String, Vec<u8>)>,
    /// When it was written, which is not when it is sent.
    pub date: Timestamp,
}

/// What SMTP is told, and the bytes after DATA.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) bytes: Vec<u8>,
}

impl Envelope {
    /// Whether the server must know RFC 6531.
    pub(super) fn needs_utf8_addresses(&self) -> bool {
        [&self.from, &self.to].iter().any(|address| !AsRef::<str>::as_ref(address).is_ascii())
    }
}

impl Message {
    /// The mail's bytes: equal for equal messages, so that one sent twice cannot be told from itself.
    pub(super) fn envelope(&self, from: &Mailbox) -> Result<Envelope, SendError> {
        let to: Address = self.to.parse().map_err(|_| SendError::Address("the recipient is no mail address"))?;
        let plain_id = self.message_id.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
        if !plain_id || self.message_id.is_empty() {
            return Err(SendError::Address("its Message-ID is malformed"));
        }
        // Quoted-printable and base64 never hold "=_", so a boundary cannot occur in a part; neither begins the other.
        let mut hash = String::new();
        for byte in &Sha256::digest(self.message_id.as_bytes())[..16] {
            let _ = write!(hash, "{byte:02x}");
        }
        let (boundary, inner) = (format!("=_a{hash}"), format!("=_r{hash}"));
        let part = |kind: ContentType, text: &str| SinglePart::builder().header(kind).body(text.to_owned());
        let (text, html) = (part(ContentType::TEXT_PLAIN, &self.text), part(ContentType::TEXT_HTML, &self.html));
        let body = MultiPart::alternative().boundary(boundary).singlepart(text);
        let body = if self.pictures.is_empty() {
            body.singlepart(html)
        } else {
            let png = ContentType::parse("image/png").map_err(|_| SendError::Address("its pictures have no type"))?;
            let related = MultiPart::related().boundary(inner).singlepart(html);
            body.multipart(self.pictures.iter().fold(related, |related, (id, bytes)| {
                related.singlepart(Attachment::new_inline(id.clone()).body(bytes.clone(), png.clone()))
            }))
        };
        let written = u64::try_from(self.date.millis()).unwrap_or(0);
        let message = lettre::Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(self.subject.replace(['\r', '\n'], " "))
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(written))
            .message_id(Some(format!("<{}>", self.message_id)))
            // RFC 3834: no automatic answers to this.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .multipart(body)
            .map_err(|_| SendError::Address("its headers cannot be written"))?;
        Ok(Envelope { from: from.email.clone(), to, bytes: message.formatted() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            message_id: "alert.1@tallyd.example.com".to_owned(),
            to: "lena@example.com".to_owned(),
            subject: "support-bot at 80 %: $240.00 of $300.00".to_owned(),
            text: "389 ±13\n.\nFrom the start\n".to_owned(),
            html: format!("<p>{}</p>", "± ".repeat(2000)),
            pictures: Vec::new(),
            date: Timestamp(1_795_085_220_000),
        }
    }

    fn bytes(message: &Message) -> String {
        let from: Mailbox = "Täglich <tallyd@example.com>".parse().unwrap();
        String::from_utf8(message.envelope(&from).unwrap().bytes).unwrap()
    }

    #[test]
    fn the_mail_is_plain_ascii_with_short_lines_and_the_headers_it_needs() {
        let text = bytes(&message());
        assert!(text.is_ascii());
        assert!(text.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        for header in [
            "To: lena@example.com",
            "Subject: support-bot at 80 %: $240.00 of $300.00",
            "Date: Thu, 19 Nov 2026 10:47:00 +0000",
            "Message-ID: <alert.1@tallyd.example.com>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
        ] {
            assert!(head.lines().any(|line| line == header), "{header} in\n{head}");
        }
        assert!(head.contains("Content-Type: multipart/alternative;"));
        assert!(body.contains("389 =C2=B113"), "{body}");
        assert_eq!(text, bytes(&message()), "the same mail is the same bytes");
    }

    #[test]
    fn pictures_stand_beside_the_html_part_alone() {
        let mut shown = message();
        shown.pictures =
            vec![("burn.1@tallyd".to_owned(), vec![0x89; 2_000]), ("burn.2@tallyd".to_owned(), vec![7; 10])];
        let text = bytes(&shown);
        assert!(text.is_ascii() && text.split("\r\n").all(|line| line.len() <= 998));
        let plain = text.find("Content-Type: text/plain").unwrap();
        let related = text.find("Content-Type: multipart/related;").unwrap();
        let html = text.find("Content-Type: text/html").unwrap();
        let picture = text.find("Content-ID: <burn.1@tallyd>").unwrap();
        assert!(plain < related && related < html && html < picture, "{text}");
        assert_eq!(text.matches("Content-Disposition: inline").count(), 2);
        assert_eq!(text, bytes(&shown), "the same mail is the same bytes");
    }

    #[test]
    fn nothing_smuggles_a_header_in() {
        let mut sneaky = message();
        sneaky.subject = "a\r\nBcc: eve@example.com\nX: ü".to_owned();
        let text = bytes(&sneaky);
        let head = text.split_once("\r\n\r\n").unwrap().0;
        assert!(!head.lines().any(|line| line.starts_with("Bcc") || line.starts_with("X:")), "{head}");
        sneaky = message();
        sneaky.to = "lena@example.com>\r\nRCPT TO:<eve@example.com".to_owned();
        assert!(sneaky.envelope(&"t@example.com".parse().unwrap()).is_err());
        sneaky = message();
        sneaky.message_id = "a@b>\r\nBcc: eve@example.com".to_owned();
        assert!(sneaky.envelope(&"t@example.com".parse().unwrap()).is_err());
    }
}
