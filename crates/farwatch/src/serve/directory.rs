//! The tenant directory of a process that stands alone: made at the first start, kept current afterwards.
//!
//! The directory lies in the bucket, signed; the signing key lies in the data directory. The first start makes both, with
//! one tenant and its API key. The key's text exists in two places only: in what the first start prints (or writes to a
//! file), and with whom it is for. Until it has been printed it is kept in a file in the data directory, so that a crash
//! in between loses nothing: the next start prints it then.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::CryptoRng;
use segment_store::{Bucket, BucketError, Clock, Etag, GetRange, Object, PutCondition};
use telemetry::TenantId;
use tenancy::{
    Access, ApiKey, DirectoryDocument, DirectoryError, DirectorySigner, KeyEntry, Limits, OfferOutcome,
    Scopes, TenantEntry,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::commands::chain;
use crate::secret_file;

/// The directory's key in the bucket.
pub const DIRECTORY_KEY: &str = "directory";
/// Id of the tenant that the first start makes.
pub const FIRST_TENANT: &str = "default";
/// The directory is looked at so often, so that a revocation holds within 5 s whatever a request to the bucket takes.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Retention of tenants that are made here: thirteen months, so that a month can be compared with last year's.
const RETENTION_DAYS: u32 = 400;
/// How often a change of the directory is tried when others change it at the same time.
const MAX_ATTEMPTS: usize = 5;

pub(super) const SIGNING_KEY_FILE: &str = "directory.key";
const UNSEEN_KEY_FILE: &str = "first-api-key";

/// Why there is no tenant directory to serve with.
#[derive(Debug, thiserror::Error)]
pub enum DirectorySetupError {
    /// A file of the data directory, or the one for the first key, cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file for the first key is there already.
    #[error(
        "the file {} (setting bootstrap-key-file) is there already, and may be all that holds another key; name a file that does not exist, or move this one away",
        .0.display()
    )]
    KeyFileTaken(PathBuf),
    /// The directory that the file for the first key is to be made in is not there.
    #[error("the directory {} (of setting bootstrap-key-file) does not exist; make it first", .0.display())]
    NoPlaceForKeyFile(PathBuf),
    /// The file of a secret holds something else.
    #[error("{} does not hold a secret (32 bytes in hexadecimal digits)", .0.display())]
    SigningKey(PathBuf),
    /// The bucket does not answer, or refuses.
    #[error("cannot read or write the tenant directory in the bucket")]
    Bucket(#[from] BucketError),
    /// The directory is not one that this process may trust.
    #[error(
        "the tenant directory in the bucket does not go with the signing key {}; if the bucket was used with another data directory, copy directory.key from there to this place, otherwise name another bucket or prefix (setting bucket)",
        key_file.display()
    )]
    Untrusted {
        /// The signing key of this process.
        key_file: PathBuf,
        /// What is wrong.
        source: DirectoryError,
    },
    /// Others kept changing the directory.
    #[error("the tenant directory kept changing while a tenant was added to it; start again")]
    Busy,
}

/// The first key, which is shown once.
pub struct FirstKey {
    /// Its text.
    pub key: ApiKey,
    /// The file to remove once it has been shown.
    unseen: Option<PathBuf>,
}

impl FirstKey {
    /// Forgets the text: it has been shown.
    ///
    /// # Errors
    /// When the file that kept it cannot be removed.
    pub fn shown(self) -> io::Result<()> {
        self.unseen.map_or(Ok(()), std::fs::remove_file)
    }
}

/// What setting up gave.
pub struct Setup {
    /// The directory in force.
    pub access: Arc<Access>,
    /// The version of the document in the bucket.
    pub etag: Etag,
    /// The first tenant's key, if this start is the first one or the first that comes to show it.
    pub first_key: Option<FirstKey>,
    /// The file that this start wrote the first tenant's key to.
    pub key_file: Option<PathBuf>,
}

/// What setting up needs.
pub struct SetupParts<'a> {
    /// Where the directory lies.
    pub bucket: &'a dyn Bucket,
    /// Where the signing key lies.
    pub data_dir: &'a Path,
    /// Where the first key's text goes instead of being shown: a file that the first start makes.
    pub bootstrap_key_file: Option<&'a Path>,
    /// The tenant of requests without credentials, made if it is not there.
    pub anonymous_tenant: Option<&'a TenantId>,
    /// Wall time, ms since the Unix epoch.
    pub now_ms: i64,
}

/// Refuses a file for the first key that a first start could not make, before that start makes anything.
///
/// # Errors
/// [`DirectorySetupError`].
pub fn check_bootstrap_key_file(data_dir: &Path, key_file: &Path) -> Result<(), DirectorySetupError> {
    if data_dir.join(SIGNING_KEY_FILE).exists() {
        return Ok(());
    }
    if key_file.symlink_metadata().is_ok() {
        return Err(DirectorySetupError::KeyFileTaken(key_file.to_owned()));
    }
    let directory = secret_file::directory_of(key_file);
    if !directory.is_dir() {
        return Err(DirectorySetupError::NoPlaceForKeyFile(directory.to_owned()));
    }
    Ok(())
}

impl SetupParts<'_> {
    /// Opens the directory in the bucket, or makes the first one.
    ///
    /// # Errors
    /// [`DirectorySetupError`].
    pub async fn set_up(&self, rng: &mut impl CryptoRng) -> Result<Setup, DirectorySetupError> {
        let key_file = self.data_dir.join(SIGNING_KEY_FILE);
        let signer = signing_key(&key_file, rng)?;
        let unseen = self.data_dir.join(UNSEEN_KEY_FILE);
        // Made once, however often it is tried to put it: its key's text is in a file from then on.
        let mut first = None;
        for _ in 0..MAX_ATTEMPTS {
            let found = match self.bucket.get(DIRECTORY_KEY, GetRange::Full).await {
                Ok(object) => Some(object),
                Err(BucketError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            let untrusted = |source| DirectorySetupError::Untrusted { key_file: key_file.clone(), source };
            let (document, condition) = match &found {
                Some(object) => {
                    let document =
                        DirectoryDocument::open(&object.body, &signer.verifier()).map_err(untrusted)?;
                    if !self.lacks_anonymous(&document) {
                        let setup = self.serve_with(object, &signer, &unseen);
                        let key_file = self.bootstrap_key_file.filter(|_| first.is_some());
                        let key_file = key_file.map(Path::to_owned);
                        let setup = setup.map(|setup| Setup { key_file, ..setup });
                        return setup.map_err(|error| match error {
                            Opening::Directory(source) => untrusted(source),
                            Opening::File(source) => {
                                DirectorySetupError::File { path: unseen.clone(), source }
                            }
                        });
                    }
                    (document, PutCondition::IfMatch(object.etag.clone()))
                }
                None => {
                    let document = match first.take() {
                        Some(document) => document,
                        None => self.first_document(&unseen, rng)?,
                    };
                    first = Some(document.clone());
                    (document, PutCondition::IfAbsent)
                }
            };
            let published = self.with_anonymous(document).publish(&signer).map_err(untrusted)?;
            // The next turn reads what is there then: ours, or what somebody else was faster to put.
            match self.bucket.put(DIRECTORY_KEY, Bytes::from(published), condition, None).await {
                Ok(_) | Err(BucketError::PreconditionFailed { .. } | BucketError::Conflict { .. }) => {}
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(DirectorySetupError::Busy)
    }

    /// A directory with the first tenant; its key's text is in a file before anybody can depend on it.
    fn first_document(
        &self,
        unseen: &Path,
        rng: &mut impl CryptoRng,
    ) -> Result<DirectoryDocument, DirectorySetupError> {
        let key = ApiKey::generate(rng);
        let text = format!("{}\n", key.expose());
        let file_error = |path: &Path, source| DirectorySetupError::File { path: path.to_owned(), source };
        match self.bootstrap_key_file {
            Some(path) => {
                secret_file::create(path, text.as_bytes()).map_err(|source| match source.kind() {
                    io::ErrorKind::AlreadyExists => DirectorySetupError::KeyFileTaken(path.to_owned()),
                    _ => file_error(path, source),
                })?;
            }
            None => {
                secret_file::write(unseen, text.as_bytes()).map_err(|source| file_error(unseen, source))?;
            }
        }
        let entry = KeyEntry::of(&key, Scopes::DATA.iter());
        let tenant = TenantEntry { keys: vec![entry], ..tenant(FIRST_TENANT) };
        Ok(DirectoryDocument { version: 0, issued_at_ms: self.now_ms, tenants: vec![tenant] })
    }

    fn lacks_anonymous(&self, document: &DirectoryDocument) -> bool {
        self.anonymous_tenant.is_some_and(|name| document.tenants.iter().all(|t| t.id != name.as_str()))
    }

    /// The next version of `document`, with the anonymous tenant in it.
    fn with_anonymous(&self, mut document: DirectoryDocument) -> DirectoryDocument {
        if let Some(name) = self.anonymous_tenant.filter(|_| self.lacks_anonymous(&document)) {
            document.tenants.push(tenant(name.as_str()));
        }
        document.version += 1;
        document.issued_at_ms = self.now_ms;
        document
    }

    fn serve_with(&self, object: &Object, signer: &DirectorySigner, unseen: &Path) -> Result<Setup, Opening> {
        let access =
            Access::new(&object.body, signer.verifier(), self.anonymous_tenant.cloned(), self.now_ms)
                .map_err(Opening::Directory)?;
        let first_key = unseen_key(unseen, &access, self.now_ms).map_err(Opening::File)?;
        Ok(Setup { access: Arc::new(access), etag: object.etag.clone(), first_key, key_file: None })
    }
}

enum Opening {
    Directory(DirectoryError),
    File(io::Error),
}

/// A tenant without keys. Who runs a process for themselves has no limits but the machine's.
fn tenant(id: &str) -> TenantEntry {
    TenantEntry {
        id: id.to_owned(),
        shard: 0,
        retention_days: RETENTION_DAYS,
        home_cell: None,
        limits: Limits::unlimited(),
        keys: Vec::new(),
    }
}

/// The key that nobody has seen yet, if there is one and it is good.
fn unseen_key(path: &Path, access: &Access, now_ms: i64) -> io::Result<Option<FirstKey>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let good = ApiKey::parse(text.trim_ascii())
        .ok()
        .filter(|key| access.directory().authenticate(key, now_ms).is_ok());
    match good {
        Some(key) => Ok(Some(FirstKey { key, unseen: Some(path.to_owned()) })),
        // Left by a start whose directory was never published.
        None => std::fs::remove_file(path).map(|()| None),
    }
}

/// The key of a data directory that signs the tenant directory, and the tokens of the cell's services.
///
/// # Errors
/// [`DirectorySetupError`] when it cannot be read or made.
pub fn signer(data_dir: &Path, rng: &mut impl CryptoRng) -> Result<DirectorySigner, DirectorySetupError> {
    signing_key(&data_dir.join(SIGNING_KEY_FILE), rng)
}

/// The directory in a bucket, for who only looks at it; nothing where none is published, or where the data directory does not have
/// the key to trust it by.
///
/// # Errors
/// [`DirectorySetupError`].
pub(crate) async fn published(
    bucket: &dyn Bucket,
    data_dir: &Path,
    now_ms: i64,
) -> Result<Option<Arc<Access>>, DirectorySetupError> {
    let key_file = data_dir.join(SIGNING_KEY_FILE);
    if !key_file.exists() {
        return Ok(None);
    }
    let signer = read_secret(&key_file)?;
    let object = match bucket.get(DIRECTORY_KEY, GetRange::Full).await {
        Ok(object) => object,
        Err(BucketError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let verifier = DirectorySigner::from_seed(&signer).verifier();
    let access = Access::new(&object.body, verifier, None, now_ms);
    let access = access.map_err(|source| DirectorySetupError::Untrusted { key_file, source })?;
    Ok(Some(Arc::new(access)))
}

/// The key that signs the directory, made if it is not there.
fn signing_key(path: &Path, rng: &mut impl CryptoRng) -> Result<DirectorySigner, DirectorySetupError> {
    let seed = secret_of(path, rng)?;
    Ok(DirectorySigner::from_seed(&seed))
}

/// The 256 bits in a file of secrets, which is made if it is not there.
pub(super) fn secret_of(
    path: &Path,
    rng: &mut impl CryptoRng,
) -> Result<Zeroizing<[u8; 32]>, DirectorySetupError> {
    match read_secret(path) {
        Err(DirectorySetupError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let mut secret = Zeroizing::new([0; 32]);
            rng.fill_bytes(secret.as_mut());
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            let text = Zeroizing::new(format!("{hex}\n"));
            let file_error = |source| DirectorySetupError::File { path: path.to_owned(), source };
            secret_file::write(path, text.as_bytes()).map_err(file_error)?;
            Ok(secret)
        }
        read => read,
    }
}

/// The 256 bits in a file of secrets.
fn read_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, DirectorySetupError> {
    let text = std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|source| DirectorySetupError::File { path: path.to_owned(), source })?;
    seed_from_hex(text.trim()).ok_or_else(|| DirectorySetupError::SigningKey(path.to_owned()))
}

fn seed_from_hex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut seed = Zeroizing::new([0; 32]);
    if pairs.len() != seed.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in seed.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(seed)
}

/// Offers every new document in the bucket to `access` until `stop`. While the bucket is away the last good one serves.
pub async fn poll(
    bucket: Arc<dyn Bucket>,
    access: Arc<Access>,
    mut known: Etag,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
        let outcome = match bucket.get_if_changed(DIRECTORY_KEY, Some(&known)).await {
            Ok(None) => {
                access.confirm(clock.now_ms());
                Ok(())
            }
            Ok(Some(object)) => access
                .offer(&object.body, clock.now_ms())
                .map(|outcome| {
                    known = object.etag;
                    if outcome == OfferOutcome::Replaced {
                        tracing::info!(
                            version = access.directory().version(),
                            "new tenant directory in force"
                        );
                    }
                })
                .map_err(|error| chain(&error)),
            Err(error) => Err(chain(&error)),
        };
        // Once when it begins and once when it ends, not every two seconds.
        match &outcome {
            Ok(()) if failing => tracing::info!("the tenant directory can be read again"),
            Err(error) if !failing => {
                tracing::warn!(error, "cannot read the tenant directory; the last good one stays in force");
            }
            _ => {}
        }
        failing = outcome.is_err();
    }
}

#[cfg(test)]
mod tests;
