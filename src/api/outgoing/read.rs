//! Reads outgoing messages from JSON that a program in another language wrote.
//!
//! Serde's own errors quote the value they refuse, and what is said to a customer must stay out of errors and logs. So
//! fields are taken out by hand, and errors name the field by its path. Fields that nobody asks for are passed over, as
//! WeCom does.

use serde_json::{Map, Value};

use super::super::FieldError;

/// An object, and the path that led to it.
pub(crate) struct Fields<'v> {
    path: Box<str>,
    map: &'v Map<String, Value>,
}

impl<'v> Fields<'v> {
    /// The fields of `value`, which stands at `path`: the empty path for the whole.
    pub(crate) fn of(path: impl Into<Box<str>>, value: &'v Value) -> Result<Self, FieldError> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Self { path, map }),
            _ if path.is_empty() => Err(mismatch("the message", "an object", value)),
            _ => Err(mismatch(path, "an object", value)),
        }
    }

    pub(crate) fn object(&self, name: &str) -> Result<Self, FieldError> {
        Self::of(self.path_of(name), self.required(name)?)
    }

    pub(crate) fn optional_object(&self, name: &str) -> Result<Option<Self>, FieldError> {
        self.get(name)
            .map(|value| Self::of(self.path_of(name), value))
            .transpose()
    }

    pub(crate) fn string(&self, name: &str) -> Result<String, FieldError> {
        self.as_string(name, self.required(name)?)
    }

    pub(super) fn optional_string(&self, name: &str) -> Result<Option<String>, FieldError> {
        self.get(name).map(|value| self.as_string(name, value)).transpose()
    }

    pub(crate) fn number(&self, name: &str) -> Result<f64, FieldError> {
        let value = self.required(name)?;
        let number = value.as_f64();
        number.ok_or_else(|| mismatch(self.path_of(name), "a number", value))
    }

    /// A flag, which WeCom writes as 0 or 1 and most languages as a boolean.
    pub(crate) fn optional_flag(&self, name: &str) -> Result<Option<bool>, FieldError> {
        let flag = |value: &Value| match (value, value.as_u64()) {
            (Value::Bool(flag), _) => Ok(*flag),
            (_, Some(number @ (0 | 1))) => Ok(number == 1),
            (Value::Number(_), _) => Err(FieldError::malformed(self.path_of(name), "must be 0 or 1")),
            _ => Err(mismatch(self.path_of(name), "a boolean, 0 or 1", value)),
        };
        self.get(name).map(flag).transpose()
    }

    /// The objects of a list. An absent one is empty.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<Self>, FieldError> {
        let path = self.path_of(name);
        let Some(value) = self.get(name) else {
            return Ok(Vec::new());
        };
        let Value::Array(items) = value else {
            return Err(mismatch(path, "a list", value));
        };
        let fields = items
            .iter()
            .enumerate()
            .map(|(index, item)| Self::of(format!("{path}[{index}]"), item));
        fields.collect()
    }

    pub(crate) fn path_of(&self, name: &str) -> Box<str> {
        match &*self.path {
            "" => name.into(),
            path => format!("{path}.{name}").into(),
        }
    }

    /// A field. `null` is as good as none: most languages write it for what they do not have.
    fn get(&self, name: &str) -> Option<&'v Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn required(&self, name: &str) -> Result<&'v Value, FieldError> {
        self.get(name).ok_or_else(|| FieldError::missing(self.path_of(name)))
    }

    fn as_string(&self, name: &str, value: &Value) -> Result<String, FieldError> {
        let string = value.as_str().map(str::to_owned);
        string.ok_or_else(|| mismatch(self.path_of(name), "a string", value))
    }
}

fn mismatch(field: impl Into<Box<str>>, expected: &'static str, value: &Value) -> FieldError {
    let field = field.into();
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    FieldError::Type { field, expected, found }
}

/// `name` in quotes if it looks like a name, for it may be anything that a program wrote in the wrong place.
pub(super) fn quoted(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.len() <= 32 && name.bytes().all(plain) {
        format!("\"{name}\" ")
    } else {
        String::new()
    }
}
