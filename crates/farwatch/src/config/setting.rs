//! One definition for each setting, from which its flag, variable, key in the file, help and reference are made.

use std::collections::BTreeMap;
use std::fmt;

use super::value::SettingValue;
use super::{ConfigError, Origin};

/// What there is to know about a setting before its value.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Name of the field that holds it, in snake case.
    pub field: &'static str,
    /// What to call its value in help texts, such as `DIR`.
    pub value_name: &'static str,
    /// The text that stands when none is given; empty when there is no default.
    pub default: &'static str,
    /// What it does, for people.
    pub doc: &'static str,
}

impl Setting {
    /// Its name in the file, and as a flag after two dashes: `data-dir`.
    #[must_use]
    pub fn name(&self) -> String {
        self.field.replace('_', "-")
    }

    /// Its name in the environment: `FARWATCH_DATA_DIR`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("FARWATCH_{}", self.field.to_uppercase())
    }

    /// The documentation without the indentation that Rust's doc comments have.
    #[must_use]
    pub fn doc_text(&self) -> String {
        self.doc.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
    }
}

/// A group of settings about one topic.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// What they are about, for people; a full sentence.
    pub doc: &'static str,
    /// The settings, in the order in which to show them.
    pub settings: &'static [Setting],
}

/// The texts that were given, each with where it came from.
#[derive(Default)]
pub struct Given {
    texts: BTreeMap<&'static str, (String, Origin)>,
}

impl Given {
    /// Notes that `setting` has `text`. What is noted first stays: call it for the stronger source first.
    pub fn offer(&mut self, setting: &Setting, text: String, origin: Origin) {
        self.texts.entry(setting.field).or_insert((text, origin));
    }

    /// The value of `setting`, or its default.
    ///
    /// # Errors
    /// [`ConfigError::Value`] when the text is no such value.
    pub fn read<T: SettingValue>(&self, setting: &Setting) -> Result<T, ConfigError> {
        let (text, origin) = match self.texts.get(setting.field) {
            Some((text, origin)) => (text.as_str(), origin.clone()),
            None => (setting.default, Origin::Default),
        };
        T::parse(text).map_err(|expected| ConfigError::Value {
            setting: setting.name(),
            origin,
            text: text.to_owned(),
            expected,
        })
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.texts.iter()).finish()
    }
}

/// Defines a struct of settings about one topic: the doc comments are the documentation that users see.
macro_rules! topic {
    (
        $(#[doc = $topic_doc:literal])+
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:literal, $value_name:literal; )+
        }
    ) => {
        $(#[doc = $topic_doc])+
        #[derive(Clone, Debug)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl $name {
            /// The settings of this topic.
            pub const TOPIC: $crate::config::setting::Topic = $crate::config::setting::Topic {
                doc: concat!($($topic_doc, "\n"),+),
                settings: &[ $( topic!(@setting $field, $default, $value_name, $($doc),+) ),+ ],
            };

            /// Reads every setting of this topic from what was given.
            pub(crate) fn read(
                given: &$crate::config::setting::Given,
            ) -> Result<Self, $crate::config::ConfigError> {
                Ok(Self { $(
                    $field: given.read::<$type>(&topic!(@setting $field, $default, $value_name, $($doc),+))?,
                )+ })
            }
        }
    };
    (@setting $field:ident, $default:literal, $value_name:literal, $($doc:literal),+) => {
        $crate::config::setting::Setting {
            field: stringify!($field),
            value_name: $value_name,
            default: $default,
            doc: concat!($($doc, "\n"),+),
        }
    };
}
pub(crate) use topic;
