//! Configuration: flags over environment over file, each setting defined once.
//!
//! | module | what |
//! |---|---|
//! | [`setting`] | what a setting is, and the macro that defines a topic of them |
//! | [`value`] | how text becomes a value |
//! | [`topics`], [`control`] | the settings |
//! | [`mod@file`] | the TOML file |
//! | [`variables`] | variables that are no settings |
//! | [`mod@reference`] | the documentation made of all that |

pub mod control;
pub mod file;
pub mod reference;
pub mod setting;
pub mod topics;
pub mod value;
pub mod variables;

use std::fmt;
use std::path::PathBuf;

use control::ControlSettings;
use setting::{Given, Setting, Topic};
use topics::{
    BucketAddress, CacheSettings, IngestSettings, ListenSettings, LogSettings, QuerySettings,
    ServiceSettings, StorageSettings,
};

/// The variable that names the configuration file when no flag does.
pub const FILE_VARIABLE: &str = "FARWATCH_CONFIG";

/// What to say when an endpoint is given for a bucket that needs none.
pub(crate) const ENDPOINT_WITHOUT_S3: &str =
    "setting s3-endpoint is the server of a bucket on S3; give that bucket, too: --bucket s3://NAME";

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: ListenSettings,
    /// Where data lies.
    pub storage: StorageSettings,
    /// What it does.
    pub service: ServiceSettings,
    /// What it takes in.
    pub ingest: IngestSettings,
    /// How it answers.
    pub query: QuerySettings,
    /// What it keeps of the object store.
    pub cache: CacheSettings,
    /// Accounts, API keys and limits.
    pub control: ControlSettings,
    /// What it says of itself.
    pub log: LogSettings,
}

/// Every topic, in the order in which to show them.
pub const TOPICS: [Topic; 8] = [
    ListenSettings::TOPIC,
    StorageSettings::TOPIC,
    ServiceSettings::TOPIC,
    IngestSettings::TOPIC,
    QuerySettings::TOPIC,
    CacheSettings::TOPIC,
    ControlSettings::TOPIC,
    LogSettings::TOPIC,
];

/// Every setting, in the order in which to show them.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    TOPICS.into_iter().flat_map(|topic| topic.settings)
}

/// Where a setting's text came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag on the command line.
    Flag,
    /// A variable of the environment.
    Variable(String),
    /// A key of the file.
    File(PathBuf),
    /// Nobody gave one.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("on the command line"),
            Self::Variable(name) => write!(f, "in the environment ({name})"),
            Self::File(path) => write!(f, "in {}", path.display()),
            Self::Default => f.write_str("by default"),
        }
    }
}

/// Why there is no configuration. The user mends it and starts again.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A setting whose text is no such value.
    #[error("setting {setting} is {text:?} {origin}; it must be {expected}")]
    Value {
        /// Its name.
        setting: String,
        /// Where the text came from.
        origin: Origin,
        /// The text.
        text: String,
        /// What it must be.
        expected: String,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not valid TOML", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Why, and where.
        source: Box<toml::de::Error>,
    },
    /// A key in the file that is no setting.
    #[error("{} has the unknown key {key:?}{}; `farwatch config reference` lists every setting", path.display(), hint(nearest))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The setting whose name is most like it.
        nearest: Option<String>,
    },
    /// A key in the file with a value that cannot be a setting's, such as a table.
    #[error("{} gives {key:?} a {kind}; a setting is a text, a number, true or false, or a list of texts", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value's TOML type.
        kind: &'static str,
    },
    /// Settings that are wrong together.
    #[error("{0}")]
    Contradiction(String),
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(" (did you mean {name:?}?)")).unwrap_or_default()
}

/// What configuration is made of, given from outside so that tests can give it, too.
pub struct Sources<'a> {
    /// Flags as (setting's field name, text).
    pub flags: Vec<(&'static str, String)>,
    /// The file that a flag names.
    pub file: Option<PathBuf>,
    /// Looks a variable of the environment up.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Config {
    /// Puts the configuration together: a flag wins over a variable, which wins over the file, which wins over the default.
    ///
    /// # Errors
    /// [`ConfigError`], which says what to mend and where.
    pub fn load(sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let mut given = Given::default();
        // Who cannot unset a variable, as in many a deployment's template, sets it to nothing.
        let variable = |name: &str| (sources.variable)(name).filter(|text| !text.is_empty());
        for setting in settings() {
            if let Some((_, text)) = sources.flags.iter().find(|(field, _)| *field == setting.field) {
                given.offer(setting, text.clone(), Origin::Flag);
            }
            if let Some(text) = variable(&setting.variable()) {
                given.offer(setting, text, Origin::Variable(setting.variable()));
            }
        }
        let file = sources.file.clone().or_else(|| variable(FILE_VARIABLE).map(PathBuf::from));
        if let Some(path) = file {
            file::offer_all(&path, &mut given)?;
        }
        let config = Self {
            listen: ListenSettings::read(&given)?,
            storage: StorageSettings::read(&given)?,
            service: ServiceSettings::read(&given)?,
            ingest: IngestSettings::read(&given)?,
            query: QuerySettings::read(&given)?,
            cache: CacheSettings::read(&given)?,
            control: ControlSettings::read(&given)?,
            log: LogSettings::read(&given)?,
        };
        let StorageSettings { bucket, s3_endpoint, .. } = &config.storage;
        if s3_endpoint.is_some() && !matches!(bucket, Some(BucketAddress::S3 { .. })) {
            return Err(ConfigError::Contradiction(ENDPOINT_WITHOUT_S3.to_owned()));
        }
        let CacheSettings { cache_disk, cache_memory, .. } = &config.cache;
        for (setting, size, least) in [
            ("cache-disk", cache_disk, LEAST_CACHE_DISK_BYTES),
            ("cache-memory", cache_memory, LEAST_CACHE_MEMORY_BYTES),
        ] {
            if size.0 < least {
                let least = least >> 20;
                return Err(ConfigError::Contradiction(format!(
                    "setting {setting} must be at least {least}MiB"
                )));
            }
        }
        Ok(config)
    }
}

/// With less the cache could not hold what is written to it at the same time.
const LEAST_CACHE_DISK_BYTES: u64 = 256 << 20;
/// With less it could not hold what one query reads.
const LEAST_CACHE_MEMORY_BYTES: u64 = 32 << 20;

#[cfg(test)]
mod tests;
