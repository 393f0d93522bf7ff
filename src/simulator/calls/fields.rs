//! The fields of one object of a request.

use serde_json::{Map, Value};

use crate::simulator::refusal::Refusal;

/// An object, or a part of one.
pub(in crate::simulator) type Fields = Map<String, Value>;

/// The text of `field`, if it is there.
pub(in crate::simulator) fn text<'a>(fields: &'a Fields, field: &'static str) -> Result<Option<&'a str>, Refusal> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::parameter(format!("field `{field}` expects type `string`"))),
    }
}

/// The text of `field`, which may be missing but not be longer than this.
pub(in crate::simulator) fn optional<'a>(
    fields: &'a Fields,
    field: &'static str,
    max: usize,
) -> Result<Option<&'a str>, Refusal> {
    let text = text(fields, field)?;
    if text.is_some_and(|text| text.len() > max) {
        return Err(Refusal::parameter(format!("field `{field}` exceeds {max} bytes")));
    }
    Ok(text)
}

/// The text of `field`, which must not be empty nor longer than this.
pub(in crate::simulator) fn required<'a>(
    fields: &'a Fields,
    field: &'static str,
    max: usize,
) -> Result<&'a str, Refusal> {
    optional(fields, field, max)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Refusal::parameter(format!("field `{field}` is missing or empty")))
}

/// The text of `field`, which may be missing but not have more characters than this.
pub(in crate::simulator) fn of_characters<'a>(
    fields: &'a Fields,
    field: &'static str,
    max: usize,
) -> Result<Option<&'a str>, Refusal> {
    let text = text(fields, field)?;
    if text.is_some_and(|text| text.is_empty() || text.chars().count() > max) {
        return Err(Refusal::parameter(format!(
            "field `{field}` must have 1 to {max} characters"
        )));
    }
    Ok(text)
}

/// The number of `field`, if it is there.
pub(in crate::simulator) fn number(fields: &Fields, field: &'static str) -> Result<Option<u64>, Refusal> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_u64();
            Ok(Some(number.ok_or_else(|| {
                Refusal::parameter(format!("field `{field}` expects type `unsigned number`"))
            })?))
        }
    }
}
