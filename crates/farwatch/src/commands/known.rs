//! Which tenants there are, for who looks after stored data: what the bucket has, what the tenant directory lists, and what the
//! control plane's database has on record. No server needs to run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use control_plane::records::{RecordsError, TenantRecord, tenants_on_record};
use segment_store::compact::{list_tenants, prove_deleted};
use segment_store::{ReadError, read_shard_manifest};
use telemetry::TenantId;

use super::storage::{SHARD, Storage, StorageError};
use crate::cli::RecordsArgs;
use crate::serve::control;

/// Why it is not known which tenant is meant.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// There is no data to look at.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The bucket cannot be read.
    #[error("cannot look for tenants")]
    Read(#[from] ReadError),
    /// The database cannot be read.
    #[error("cannot look up tenants in the control plane's database")]
    Records(#[from] RecordsError),
    /// There is none.
    #[error(
        "there is no tenant {wanted:?}: no stored data, no tenant directory and no database has one of that name or id; \
         `farwatch tenant list` with the same flags shows those there are{}",
        if *.has_names { "" } else { ". Names are in the control plane's database: name it with --database-url" }
    )]
    Unknown {
        /// What was given.
        wanted: String,
        /// Whether names were looked at.
        has_names: bool,
    },
    /// Several have that name.
    #[error("several tenants are named {wanted:?}; give the id of one: {ids}")]
    Ambiguous {
        /// What was given.
        wanted: String,
        /// Their ids, with their organisations.
        ids: String,
    },
}

/// A tenant of which something is known.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: TenantId,
    /// What the control plane's database says of it.
    pub(super) record: Option<TenantRecord>,
    /// Whether it is in the tenant directory: its keys are good.
    pub(super) is_listed: bool,
    /// Whether it has objects of its own.
    pub(super) has_objects: bool,
    /// Whether its data was deleted, and what still comes for it is dropped.
    pub(super) is_erased: bool,
}

impl Known {
    fn of(id: TenantId) -> Self {
        Self { id, record: None, is_listed: false, has_objects: false, is_erased: false }
    }

    /// Whether it is known by more than that something of this id was to be deleted once.
    fn is_more_than_erased(&self) -> bool {
        self.record.is_some() || self.is_listed || self.has_objects
    }

    /// Its name, where it is known.
    pub(super) fn name(&self) -> Option<&str> {
        self.record.as_ref().map(|record| record.name.as_str())
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.record {
            Some(record) => write!(f, "{} ({}, of {})", record.name, self.id, record.organisation),
            None => write!(f, "{}", self.id),
        }
    }
}

/// All tenants of which something is known.
pub(super) struct Everybody {
    pub(super) tenants: BTreeMap<TenantId, Known>,
    /// Whether there was a database to look at.
    has_names: bool,
}

impl Everybody {
    /// Looks them up.
    pub(super) async fn look_up(args: &RecordsArgs, storage: &Storage) -> Result<Self, KnownError> {
        let database = database_url(args, storage);
        let mut all = Self { tenants: BTreeMap::new(), has_names: database.is_some() };
        for id in list_tenants(&*storage.bucket).await? {
            all.entry(id).has_objects = true;
        }
        for id in read_shard_manifest(&*storage.bucket, SHARD).await?.deleted_tenants {
            all.entry(id).is_erased = true;
        }
        if let Some(access) = storage.access().await? {
            for tenant in access.directory().tenants() {
                all.entry(tenant.id.clone()).is_listed = true;
            }
        }
        if let Some(url) = database {
            for record in tenants_on_record(&url).await? {
                if let Ok(id) = TenantId::new(&record.id) {
                    all.entry(id).record = Some(record);
                }
            }
        }
        Ok(all)
    }

    fn entry(&mut self, id: TenantId) -> &mut Known {
        self.tenants.entry(id.clone()).or_insert_with(|| Known::of(id))
    }

    /// The one that is meant by an id, or by a name; of several of a name, the one that is not deleted. An id that is known for
    /// nothing but having been deleted gives way to names.
    pub(super) fn find(&self, wanted: &str) -> Result<&Known, KnownError> {
        let of_id = self.tenants.values().find(|known| known.id.as_str() == wanted);
        if let Some(known) = of_id.filter(|known| known.is_more_than_erased()) {
            return Ok(known);
        }
        let mut named: Vec<&Known> =
            self.tenants.values().filter(|known| known.name() == Some(wanted)).collect();
        let is_alive =
            |known: &Known| known.record.as_ref().is_some_and(|record| record.deleted_at_ms.is_none());
        if named.iter().any(|known| is_alive(known)) {
            named.retain(|known| is_alive(known));
        }
        match named[..] {
            [] => of_id
                .ok_or_else(|| KnownError::Unknown { wanted: wanted.to_owned(), has_names: self.has_names }),
            [known] => Ok(known),
            _ => {
                let ids: Vec<String> = named.into_iter().map(ToString::to_string).collect();
                Err(KnownError::Ambiguous { wanted: wanted.to_owned(), ids: ids.join(", ") })
            }
        }
    }
}

/// The tenant that is meant. Of one that nobody lists any more there may be data yet, in objects that it shares with others.
pub(super) async fn find(args: &RecordsArgs, storage: &Storage, wanted: &str) -> Result<Known, KnownError> {
    let unknown = match Everybody::look_up(args, storage).await?.find(wanted) {
        Ok(known) => return Ok(known.clone()),
        Err(error @ KnownError::Unknown { .. }) => error,
        Err(error) => return Err(error),
    };
    let Ok(id) = TenantId::new(wanted) else { return Err(unknown) };
    if prove_deleted(&*storage.bucket, SHARD, &id).await?.found.is_empty() {
        return Err(unknown);
    }
    Ok(Known::of(id))
}

/// The database that was named, or the one in the data directory.
fn database_url(args: &RecordsArgs, storage: &Storage) -> Option<String> {
    if args.database_url.is_some() {
        return args.database_url.clone();
    }
    let file: PathBuf = storage.data_dir.as_ref()?.join(control::DATABASE_FILE);
    file.exists().then(|| control::sqlite_url(&file))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tenant on record: its id, its name, its organisation, and whether it is deleted.
    type Row = (&'static str, &'static str, &'static str, bool);

    fn all(on_record: &[Row]) -> Everybody {
        let mut all = Everybody { tenants: BTreeMap::new(), has_names: true };
        for (id, name, organisation, is_deleted) in on_record {
            let deleted_at_ms = is_deleted.then_some(7);
            let [name, organisation] = [name, organisation].map(|text| (*text).to_owned());
            let record = TenantRecord { id: (*id).to_owned(), name, organisation, deleted_at_ms };
            all.entry(TenantId::new(id).unwrap()).record = Some(record);
        }
        all
    }

    #[test]
    fn a_tenant_is_meant_by_its_id_or_by_a_name_that_is_its_alone() {
        let mut all = all(&[
            ("ten-1", "production", "A", false),
            ("ten-2", "production", "A", true),
            ("ten-3", "staging", "A", false),
            ("ten-4", "staging", "B", false),
            ("ten-5", "old", "B", true),
        ]);
        all.entry(TenantId::new("default").unwrap()).is_listed = true;
        all.entry(TenantId::new("old").unwrap()).has_objects = true;
        all.entry(TenantId::new("staging").unwrap()).is_erased = true;
        let find = |wanted: &str| all.find(wanted).map(|known| known.id.to_string());
        assert_eq!(find("default").unwrap(), "default");
        assert_eq!(find("ten-2").unwrap(), "ten-2");
        assert_eq!(find("production").unwrap(), "ten-1", "what is deleted is not meant");
        assert_eq!(find("old").unwrap(), "old", "an id of a tenant wins over names");
        let several = find("staging").unwrap_err().to_string();
        assert!(several.contains("ten-3, of A") && several.contains("ten-4, of B"), "{several}");
        assert!(find("dev").unwrap_err().to_string().contains("tenant list"));
    }
}
