//! The name of a downloaded file: understood whichever way it was written, and made fit to be a file's.
//!
//! WeCom does not document how it writes names. Seen are raw UTF-8, percent-encoding, the standard's `filename*`, mail's
//! `=?UTF-8?B?…?=`, and UTF-8 that some gateway took for Latin-1. Whoever sent the file chose the name, so nothing in it
//! is trusted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

/// Most bytes of a name, with room for what a program may add below the 255 that file systems take.
const NAME_BYTES: usize = 200;

/// Most bytes of an extension that is kept when a name is cut.
const EXTENSION_BYTES: usize = 16;

/// The file's name in a `Content-Disposition`, if there is one that can be used.
pub(super) fn of(disposition: &[u8]) -> Option<Box<str>> {
    // What is no UTF-8 is read as Latin-1, as HTTP has it.
    let disposition = match std::str::from_utf8(disposition) {
        Ok(text) => text.to_owned(),
        Err(_) => disposition.iter().copied().map(char::from).collect(),
    };
    let name = match parameter(&disposition, "filename*") {
        Some(extended) => extended.split_once("''").map(|(_, name)| decode_percent(name)),
        None => parameter(&disposition, "filename").map(|name| decode(&name)),
    };
    sanitise(&name?)
}

/// The value of a parameter, quoted or bare.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, parameters)) = rest.split_once(';') {
        let (name, value) = parameters.split_once('=')?;
        let value = value.trim_start();
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (bare, _) = value.split_once(';').unwrap_or((value, ""));
                (bare.trim().to_owned(), &value[bare.len()..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
    None
}

/// Takes a quoted value to its closing quote. Returns what stands behind as well.
fn unquote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            _ => value.push(c),
        }
    }
    (value, "")
}

fn decode(name: &str) -> String {
    if let Some(decoded) = decode_mail(name) {
        return decoded;
    }
    let name = decode_percent(name);
    // UTF-8 taken for Latin-1 has no character past U+00FF, and makes UTF-8 again when put back.
    let bytes: Option<Vec<u8>> = name.chars().map(|c| u8::try_from(c).ok()).collect();
    match bytes.map(String::from_utf8) {
        Some(Ok(repaired)) => repaired,
        _ => name,
    }
}

/// Undoes percent-encoding, unless what comes out is no text.
fn decode_percent(name: &str) -> String {
    let decoded = percent_decode_str(name).decode_utf8();
    decoded.map_or_else(|_| name.to_owned(), String::from)
}

/// Reads `=?UTF-8?B?…?=` and `=?UTF-8?Q?…?=`, alone or several in a row.
fn decode_mail(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    for word in name.split_ascii_whitespace() {
        let mut parts = word.strip_prefix("=?")?.strip_suffix("?=")?.splitn(3, '?');
        let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
        if !charset.eq_ignore_ascii_case("utf-8") {
            return None;
        }
        match encoding {
            "B" | "b" => bytes.extend(STANDARD.decode(text).ok()?),
            "Q" | "q" => bytes.extend(percent_decode_str(&text.replace('_', " ").replace('=', "%"))),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

/// Makes a name fit to be a file's: no path, nothing invisible, no dot at an end, and not too long.
fn sanitise(name: &str) -> Option<Box<str>> {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = base.chars().filter(|c| !is_invisible(*c)).collect();
    let name = visible.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let (stem, extension) = match name.rfind('.') {
        Some(dot) if name.len() - dot <= EXTENSION_BYTES => name.split_at(dot),
        _ => (name, ""),
    };
    let stem = &stem[..stem.floor_char_boundary(NAME_BYTES - extension.len())];
    (!name.is_empty()).then(|| format!("{stem}{extension}").into())
}

/// Characters that show nothing or turn the direction of what follows, so that `gpj.exe` reads `exe.jpg`.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(disposition: impl AsRef<[u8]>) -> Option<String> {
        of(disposition.as_ref()).map(String::from)
    }

    #[test]
    fn a_name_is_understood_whichever_way_it_was_written() {
        let mojibake: String = "发票.pdf".bytes().map(char::from).collect();
        for disposition in [
            "attachment; filename=\"发票.pdf\"".to_owned(),
            "attachment;filename=发票.pdf".to_owned(),
            "attachment; FileName = \"发票.pdf\" ; size=1".to_owned(),
            "attachment; filename=\"%E5%8F%91%E7%A5%A8.pdf\"".to_owned(),
            "attachment; filename*=UTF-8''%E5%8F%91%E7%A5%A8.pdf".to_owned(),
            "attachment; filename=\"fallback.pdf\"; filename*=utf-8''%E5%8F%91%E7%A5%A8.pdf".to_owned(),
            "attachment; filename=\"=?UTF-8?B?5Y+R56Wo?= =?utf-8?q?.pdf?=\"".to_owned(),
            "attachment; filename=\"=?utf-8?Q?=E5=8F=91=E7=A5=A8.pdf?=\"".to_owned(),
            format!("attachment; filename=\"{mojibake}\""),
        ] {
            assert_eq!(name(&disposition).as_deref(), Some("发票.pdf"), "{disposition}");
        }
        assert_eq!(
            name(b"attachment; filename=\"caf\xe9.txt\"").as_deref(),
            Some("café.txt")
        );
        assert_eq!(
            name("attachment; filename=\"50%off.txt\"").as_deref(),
            Some("50%off.txt")
        );
        assert_eq!(
            name("attachment; filename=\"a\\\"; b.txt\"").as_deref(),
            Some("a\"; b.txt")
        );
        for none in [
            "",
            "attachment",
            "attachment; filename",
            "attachment; filename=\"\"",
            "inline; name=x",
        ] {
            assert_eq!(name(none), None, "{none}");
        }
    }

    #[test]
    fn a_name_leads_nowhere_and_hides_nothing() {
        for (written, safe) in [
            ("../../etc/passwd", Some("passwd")),
            ("..%2F..%2Fetc%2Fpasswd", Some("passwd")),
            ("C:\\\\Windows\\\\x.dll", Some("x.dll")),
            (".bashrc", Some("bashrc")),
            ("a\u{202e}gpj.exe", Some("agpj.exe")),
            ("a%00b%0A.txt", Some("ab.txt")),
            (" a.txt. ", Some("a.txt")),
            ("..", None),
            ("a/", None),
            ("%E2%80%AE", None),
        ] {
            assert_eq!(
                name(format!("attachment; filename=\"{written}\"")).as_deref(),
                safe,
                "{written}"
            );
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let long = name(format!("attachment; filename=\"{}.pdf\"", "发".repeat(200))).unwrap();
        assert_eq!(long, format!("{}.pdf", "发".repeat(65)));
        let dotless = name(format!("attachment; filename=\"a.{}\"", "b".repeat(500))).unwrap();
        assert_eq!(dotless.len(), NAME_BYTES);
    }

    proptest! {
        #[test]
        fn whatever_the_header_a_name_is_fit_to_be_a_files(header in prop::collection::vec(any::<u8>(), 0..300)) {
            let disposition = [&b"attachment; filename=\""[..], &header].concat();
            for disposition in [&header, &disposition] {
                if let Some(name) = of(disposition) {
                    prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES);
                    prop_assert!(!name.contains(['/', '\\']) && !name.chars().any(is_invisible));
                    prop_assert!(!name.starts_with('.'));
                }
            }
        }
    }
}
