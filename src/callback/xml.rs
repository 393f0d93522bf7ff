//! Reads the flat XML that WeCom sends, and no other.
//!
//! Both the envelope and the message in it are one root with children of plain text. The bytes come from anybody, so
//! what could make a parser work for an attacker is refused: document types, processing instructions, entities of
//! their own, depth. What WeCom may add, unknown children, is skipped.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

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
        let text = std::str::from_utf8(document).map_err(|_| XmlError::Malformed)?;
        let mut reader = Reader::from_str(text);

        let mut children = Vec::new();
        let mut is_kept = false;
        let mut depth = 0_usize;
        let mut has_root = false;
        loop {
            let event = reader.read_event().map_err(|_| XmlError::Malformed)?;
            let has_content = matches!(event, Event::Start(_));
            let text = match event {
                Event::Start(tag) | Event::Empty(tag) => {
                    match depth {
                        0 if has_root => return Err(XmlError::Malformed),
                        0 => has_root = true,
                        1 => {
                            let field = fields.iter().find(|field| **field == tag.name().into_inner());
                            is_kept = field.is_some();
                            children.extend(field.map(|&field| (field, Cow::Borrowed(""))));
                        }
                        MAX_DEPTH => return Err(XmlError::TooDeep),
                        _ => {}
                    }
                    depth += usize::from(has_content);
                    continue;
                }
                Event::End(_) => {
                    depth = depth.saturating_sub(1);
                    continue;
                }
                Event::Text(text) => text.into_inner(),
                Event::CData(text) => text.into_inner(),
                Event::GeneralRef(reference) => resolve(&reference)?.into(),
                Event::Comment(_) => continue,
                Event::Decl(_) if !has_root => continue,
                Event::Decl(_) | Event::PI(_) | Event::DocType(_) => return Err(XmlError::Forbidden),
                Event::Eof => break,
            };
            match (depth, children.last_mut()) {
                (0, _) if !text.trim_ascii().is_empty() => return Err(XmlError::Malformed),
                (2, Some((_, own))) if is_kept => *own += text,
                _ => {}
            }
        }
        if has_root && depth == 0 {
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

/// What a reference stands for: a character, or one of the five entities every document has.
fn resolve(reference: &BytesRef<'_>) -> Result<String, XmlError> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(character.into()),
        Ok(None) => resolve_xml_entity(reference).map(Into::into).ok_or(XmlError::Forbidden),
        Err(_) => Err(XmlError::Malformed),
    }
}

#[cfg(test)]
mod tests {
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
}
