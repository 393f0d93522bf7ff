//! Reads the flat XML that WeCom sends, and no other.
//!
//! Both the envelope and the message in it are one root with children of plain text. The bytes come from anybody, so
//! what could make a parser work for an attacker is refused: document types, processing instructions, entities of
//! their own, depth. What WeCom may add, unknown children, is skipped.
//!
//! Two such documents are read for every callback, and a parser for all of XML took a third of the time that a callback
//! takes us. So a document is cut into its [`Piece`]s here. What entities stand for is left to `quick-xml`, and a test has
//! it read whatever we read.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter};
use quick_xml::escape::{EscapeError, unescape};

use super::refusal::ShapeError;

/// Deepest nesting that is followed. WeCom's own goes to 4.
const MAX_DEPTH: usize = 8;

/// Children of the root, in order: name and text, which is the document's own unless it came in several pieces.
#[derive(Debug)]
pub(super) struct Children<'a>(Vec<(&'static str, Cow<'a, str>)>);

/// Why bytes are not the XML that is read here. Quotes nothing of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    /// Longer than [`MAX_BODY_BYTES`](super::MAX_BODY_BYTES).
    #[error("document is too long")]
    TooLong,
    /// Not UTF-8, or not well-formed.
    #[error("document is not well-formed")]
    Malformed,
    /// Has a document type, a processing instruction or an entity that XML does not predefine.
    #[error("document has a construct that is not allowed")]
    Forbidden,
    /// Elements are nested too deep.
    #[error("document is nested too deep")]
    TooDeep,
}

impl<'a> Children<'a> {
    /// Parses a document, and keeps those children that are called as one of `fields`. The document's length is for the
    /// caller to bound.
    pub(super) fn parse(document: &'a [u8], fields: &[&'static str]) -> Result<Self, XmlError> {
        let document = std::str::from_utf8(document).map_err(|_| XmlError::Malformed)?;
        let mut rest = document.strip_prefix('\u{feff}').unwrap_or(document);

        let mut children = Vec::new();
        let mut is_kept = false;
        let mut open = Vec::with_capacity(MAX_DEPTH);
        let mut has_root = false;
        while !rest.is_empty() {
            let piece;
            (piece, rest) = Piece::cut_from(rest)?;
            let text = match piece {
                Piece::Start(name) | Piece::Empty(name) => {
                    match open.len() {
                        0 if has_root => return Err(XmlError::Malformed),
                        0 => has_root = true,
                        1 => {
                            let field = fields.iter().find(|field| **field == name);
                            is_kept = field.is_some();
                            children.extend(field.map(|&field| (field, Cow::Borrowed(""))));
                        }
                        MAX_DEPTH => return Err(XmlError::TooDeep),
                        _ => {}
                    }
                    if let Piece::Start(name) = piece {
                        open.push(name);
                    }
                    continue;
                }
                Piece::End(name) => {
                    if open.pop() != Some(name) {
                        return Err(XmlError::Malformed);
                    }
                    continue;
                }
                Piece::Text(text) => resolve(text)?,
                Piece::CData(text) => text.into(),
                Piece::Comment => continue,
                Piece::Declaration if !has_root => continue,
                Piece::Declaration => return Err(XmlError::Forbidden),
            };
            match (open.len(), children.last_mut()) {
                (0, _) if !text.trim_ascii().is_empty() => return Err(XmlError::Malformed),
                (2, Some((_, own))) if is_kept => *own += text,
                _ => {}
            }
        }
        if has_root && open.is_empty() {
            Ok(Self(children))
        } else {
            Err(XmlError::Malformed)
        }
    }

    /// Text of the child `field`, of which there must not be two.
    pub(super) fn single(&self, field: &'static str) -> Result<Option<&str>, ShapeError> {
        let mut found = self.all(field);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(ShapeError::Repeated { field }),
            (text, None) => Ok(text),
        }
    }

    /// The same, without a copy.
    pub(super) fn take_single(mut self, field: &'static str) -> Result<Option<Cow<'a, str>>, ShapeError> {
        self.single(field)?;
        let place = self.0.iter().position(|(name, _)| *name == field);
        Ok(place.map(|place| self.0.swap_remove(place).1))
    }

    /// Texts of all children `field`, in order.
    pub(super) fn all(&self, field: &'static str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(name, _)| *name == field)
            .map(|(_, text)| &**text)
    }
}

/// What a document consists of. Tags have the name of their element; attributes are not looked at.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Start(&'a str),
    End(&'a str),
    /// Start and end in one.
    Empty(&'a str),
    /// With its references unresolved.
    Text(&'a str),
    CData(&'a str),
    Comment,
    /// `<?xml … ?>`
    Declaration,
}

impl<'a> Piece<'a> {
    /// Cuts the first piece from a document that is not empty. Returns it and the rest.
    fn cut_from(document: &'a str) -> Result<(Self, &'a str), XmlError> {
        let Some(markup) = document.strip_prefix('<') else {
            let (text, rest) = document.split_at(memchr(b'<', document.as_bytes()).unwrap_or(document.len()));
            return Ok((Self::Text(text), rest));
        };
        if let Some(end) = markup.strip_prefix('/') {
            let (name, rest) = split(end, ">")?;
            Ok((Self::End(name.trim_ascii_end()), rest))
        } else if let Some(text) = markup.strip_prefix("![CDATA[") {
            let (text, rest) = split(text, "]]>")?;
            Ok((Self::CData(text), rest))
        } else if let Some(comment) = markup.strip_prefix("!--") {
            Ok((Self::Comment, split(comment, "-->")?.1))
        } else if let Some(instruction) = markup.strip_prefix('?') {
            match split(instruction, "?>")? {
                (instruction, rest) if name(instruction) == "xml" => Ok((Self::Declaration, rest)),
                _ => Err(XmlError::Forbidden),
            }
        } else if markup.starts_with('!') {
            Err(XmlError::Forbidden)
        } else {
            let (tag, rest) = split_tag(markup)?;
            let piece = tag
                .strip_suffix('/')
                .map_or_else(|| Self::Start(name(tag)), |tag| Self::Empty(name(tag)));
            match piece {
                Self::Start("") | Self::Empty("") => Err(XmlError::Malformed),
                piece => Ok((piece, rest)),
            }
        }
    }
}

/// Splits `text` at the first `end`, whose own end is `>`.
fn split<'a>(text: &'a str, end: &str) -> Result<(&'a str, &'a str), XmlError> {
    memchr_iter(b'>', text.as_bytes())
        .map(|at| text.split_at(at + 1))
        .find_map(|(before, rest)| Some((before.strip_suffix(end)?, rest)))
        .ok_or(XmlError::Malformed)
}

/// Splits what begins with a tag at its end. A `>` between quotes belongs to an attribute.
fn split_tag(text: &str) -> Result<(&str, &str), XmlError> {
    let mut quote = None;
    let end = text.bytes().position(|byte| {
        match quote {
            None if byte == b'>' => return true,
            None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
            Some(open) if open == byte => quote = None,
            _ => {}
        }
        false
    });
    let end = end.ok_or(XmlError::Malformed)?;
    Ok((&text[..end], &text[end + 1..]))
}

/// The name that a tag begins with.
fn name(tag: &str) -> &str {
    let end = tag.bytes().position(|byte| byte.is_ascii_whitespace());
    &tag[..end.unwrap_or(tag.len())]
}

/// Puts characters in the place of references: to a character, or to one of the five entities every document has.
fn resolve(text: &str) -> Result<Cow<'_, str>, XmlError> {
    unescape(text).map_err(|error| match error {
        EscapeError::UnrecognizedEntity(..) => XmlError::Forbidden,
        _ => XmlError::Malformed,
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use quick_xml::Reader;
    use quick_xml::escape::resolve_xml_entity;
    use quick_xml::events::Event;

    use super::*;

    fn child(document: &str) -> Result<Option<String>, XmlError> {
        let children = Children::parse(document.as_bytes(), &["a"])?;
        Ok(children.single("a").unwrap().map(Into::into))
    }

    #[test]
    fn text_and_cdata_are_the_same() {
        for document in [
            "<x><a>1&lt;2</a></x>",
            "<x><a><![CDATA[1<2]]></a></x>",
            "<x>\n <b/><a>1<![CDATA[<]]>2</a> noise </x>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><!-- c --><x y='&z;'><a t=\"1\">1&#60;&#x32;</a></x>\n",
            "\u{feff}<x><a>1&lt;<deeper>not mine</deeper>2</a></x>",
        ] {
            assert_eq!(child(document), Ok(Some("1<2".to_owned())), "{document}");
        }
    }

    #[test]
    fn only_children_of_the_root_are_seen() {
        assert_eq!(child("<a><b><a>1</a></b></a>"), Ok(None));
        assert_eq!(
            child("<x><!-- <a>1</a> --><b><![CDATA[<a>1</a>]]></b><A>1</A></x>"),
            Ok(None)
        );
    }

    #[test]
    fn repeated_children_are_kept_in_order_and_are_not_single() {
        let children = Children::parse(b"<x><a>1</a><b/>no<c>more</c><a/></x>", &["a", "b"]).unwrap();
        assert_eq!(children.all("a").collect::<Vec<_>>(), ["1", ""]);
        assert_eq!(children.single("a"), Err(ShapeError::Repeated { field: "a" }));
        assert_eq!(children.single("b"), Ok(Some("")));
    }

    #[test]
    fn what_only_an_attacker_would_send_is_refused() {
        for document in [
            "<!DOCTYPE x><x><a>1</a></x>",
            "<!DOCTYPE x [<!ENTITY e \"bomb\">]><x><a>&e;</a></x>",
            "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><x/>",
            "<x><a>&e;</a></x>",
            "<x><?php ?><a>1</a></x>",
            "<?xml-stylesheet href='x'?><x/>",
            "<x><?xml version=\"1.0\"?></x>",
        ] {
            assert_eq!(child(document), Err(XmlError::Forbidden), "{document}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for document in [
            "",
            " ",
            "x",
            "{}",
            "<x>",
            "<x><a></x></a>",
            "</x>",
            "<x/><y/>",
            "<x/>tail",
            "<x/><![CDATA[tail]]>",
            "lead<x/>",
            "<x/>&lt;",
            "<x><a>&#0;</a></x>",
            "<x><a>&lt</a></x>",
            "<x><a><![CDATA[1</a></x>",
            "<x><a",
        ] {
            assert_eq!(child(document), Err(XmlError::Malformed), "{document}");
        }
        assert_eq!(Children::parse(b"<x>\xff</x>", &[]).unwrap_err(), XmlError::Malformed);
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(child(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(child(&nested(MAX_DEPTH + 1)), Err(XmlError::TooDeep));
    }

    /// What documents are made of, and what could be taken for it, with a bar between each two.
    const PIECES: &str = "<a>|</a>|</a >|<a/>|<a b='>'>|<a b=\"'>\"/>|<a>1</a>|<b>|</b>|<b/>|<b><a/></b>|<x>|</x>|<a|<|>|/>|\
        <![CDATA[|]]>|]]|<![CDATA[<a>]]]>|<!--|-->|--|<!-- <a> - -->|<?xml ?>|?>|&lt;|&#x61;|&|;|'|\"|1| |客";

    /// Text of each child `a` of the root, read by a parser for all of XML; `None` if that refuses the document.
    fn read_by_another(document: &str) -> Option<Vec<String>> {
        let mut reader = Reader::from_str(document);
        let (mut found, mut depth, mut is_kept) = (Vec::new(), 0, false);
        loop {
            let event = reader.read_event().ok()?;
            let starts = matches!(event, Event::Start(_));
            let text = match event {
                Event::Start(tag) | Event::Empty(tag) => {
                    if depth == 1 {
                        is_kept = tag.name().into_inner() == "a";
                        found.extend(is_kept.then(String::new));
                    }
                    depth += usize::from(starts);
                    continue;
                }
                Event::End(_) => {
                    depth -= 1;
                    continue;
                }
                Event::Text(text) => text.into_inner(),
                Event::CData(text) => text.into_inner(),
                Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                    Some(character) => String::from(character).into(),
                    None => resolve_xml_entity(&reference)?.into(),
                },
                Event::Eof => return Some(found),
                _ => continue,
            };
            if let (2, true, Some(own)) = (depth, is_kept, found.last_mut()) {
                own.push_str(&text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn what_is_read_is_what_any_parser_reads(pieces in vec(select(PIECES.split('|').collect::<Vec<_>>()), 0..12)) {
            let document = format!("<x>{}</x>", pieces.concat());
            if let Ok(children) = Children::parse(document.as_bytes(), &["a"]) {
                let read: Vec<_> = children.all("a").map(String::from).collect();
                prop_assert_eq!(Some(read), read_by_another(&document), "{}", document);
            }
        }
    }
}
