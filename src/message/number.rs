//! Numbers that WeCom tells kinds apart with, as enums that keep what they do not know.
//!
//! WeCom adds numbers without notice and drops them from its documents, so no number may fail an item: each enum ends
//! in `Other`. Only what is no `uint32` at all is refused.

/// Declares an enum over a documented `uint32`.
///
/// Each variant has one line of documentation, which the JSON Schema repeats.
macro_rules! open_number {
    (
        $(#[$doc:meta])*
        pub enum $name:ident {
            $(#[doc = $variant_doc:literal] $variant:ident = $number:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(from = "u32", into = "u32")]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = $variant_doc] #[doc = concat!("\nOn the wire ", $number, ".")] $variant,)+
            /// A number that this version does not know.
            Other(u32),
        }

        impl $name {
            /// The number as it stands on the wire.
            #[must_use]
            pub fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $number,)+
                    Self::Other(number) => number,
                }
            }
        }

        impl From<u32> for $name {
            fn from(number: u32) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Other(other),
                }
            }
        }

        impl From<$name> for u32 {
            fn from(kind: $name) -> Self {
                kind.number()
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "integer",
                    "minimum": 0,
                    "maximum": u32::MAX,
                    "anyOf": [
                        $({ "const": $number, "description": $variant_doc.trim() },)+
                        { "description": "A number that this version does not know." }
                    ]
                })
            }
        }
    };
}
pub(crate) use open_number;
