//! Forms with files in them (`multipart/form-data`), read as WeCom reads them.
//!
//! WeCom takes the name of a file as raw UTF-8 in `filename="…"`. It does not understand `filename*=utf-8''…`: a file
//! that only has such a name counts as no file.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90253>

/// One part of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) filename: Option<String>,
    pub(super) content: &'a [u8],
}

/// The parts of `body`, whose boundary the header `content_type` names. `None` if it is no whole form.
pub(super) fn parts<'a>(content_type: &str, body: &'a [u8]) -> Option<Vec<Part<'a>>> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    let delimiter = format!("--{boundary}").into_bytes();
    let between = [b"\r\n", delimiter.as_slice()].concat();
    let mut rest = &body[find(body, &delimiter)? + delimiter.len()..];
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n")?;
        let end = find(part, &between)?;
        parts.push(Part::read(&part[..end])?);
        rest = &part[end + between.len()..];
    }
    Some(parts)
}

impl<'a> Part<'a> {
    fn read(part: &'a [u8]) -> Option<Self> {
        let head_ends = find(part, b"\r\n\r\n")?;
        let head = std::str::from_utf8(&part[..head_ends]).ok()?;
        let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let (_, disposition) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-disposition"))?;
        let (_, parameters) = disposition.split_once(';')?;
        Some(Self {
            name: parameter(parameters, "name")?,
            filename: parameter(parameters, "filename"),
            content: &part[head_ends + 4..],
        })
    }
}

/// The value of the parameter `wanted`, without its quotes.
fn parameter(mut parameters: &str, wanted: &str) -> Option<String> {
    loop {
        let (name, after) = parameters.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted)?;
                (
                    quoted[..end].replace("\\\"", "\"").replace("%22", "\""),
                    &quoted[end + 1..],
                )
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if name.trim_matches([' ', ';', '\t']).eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        parameters = after;
    }
}

fn closing_quote(quoted: &str) -> Option<usize> {
    let mut quotes = quoted.match_indices('"').map(|(place, _)| place);
    quotes.find(|place| !quoted[..*place].ends_with('\\'))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        from += text.get(from..)?.iter().position(|byte| *byte == first)?;
        if text[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=xx";

    #[test]
    fn a_form_is_taken_apart() {
        let body = "--xx\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--xx\r\n\
                    content-disposition: form-data; filename=\"订单 \\\"一\\\".txt\"; name=\"media\"; filelength=6\r\n\
                    Content-Type: text/plain\r\n\r\none\r\n--x\r\ntwo\r\n--xx--\r\n";
        let expected = [
            Part {
                name: "a".to_owned(),
                filename: None,
                content: b"1",
            },
            Part {
                name: "media".to_owned(),
                filename: Some("订单 \"一\".txt".to_owned()),
                content: b"one\r\n--x\r\ntwo",
            },
        ];
        assert_eq!(parts(TYPE, body.as_bytes()).unwrap(), expected);
        assert_eq!(
            parts("Multipart/Form-Data; charset=utf-8; boundary=\"xx\"", body.as_bytes()).unwrap(),
            expected
        );
    }

    #[test]
    fn the_extended_form_of_a_name_is_not_understood() {
        let body = "--xx\r\nContent-Disposition: form-data; name=\"media\"; filename*=utf-8''a.txt\r\n\r\n1\r\n--xx--";
        assert_eq!(parts(TYPE, body.as_bytes()).unwrap()[0].filename, None);
    }

    #[test]
    fn what_is_no_form_is_none() {
        for (content_type, body) in [
            (TYPE, ""),
            (TYPE, "--xx"),
            (TYPE, "--xx\r\nno head\r\n--xx--"),
            (TYPE, "--xx\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nno end"),
            ("multipart/form-data", "--xx--"),
            ("text/plain; boundary=xx", "--xx--"),
        ] {
            assert_eq!(parts(content_type, body.as_bytes()), None, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it(body in prop::collection::vec(any::<u8>(), 0..200), head in "[ -~]{0,60}") {
            let form = [b"--xx\r\n", head.as_bytes(), b"\r\n\r\n", &body, b"\r\n--xx--"].concat();
            let _ = parts(TYPE, &form);
            let _ = parts(&head, &body);
        }
    }
}
