use parking_lot::Mutex;

use super::*;
use crate::testing::conformance;

/// Says what was made durable, and fails where it is told to.
#[derive(Clone, Debug, Default)]
struct ScriptedSync {
    synced: Arc<Mutex<Vec<PathBuf>>>,
    fails_at: Arc<Mutex<Option<(PathBuf, ErrorKind)>>>,
}

impl ScriptedSync {
    fn failing_at(dir: PathBuf, kind: ErrorKind) -> Self {
        Self { fails_at: Arc::new(Mutex::new(Some((dir, kind)))), ..Self::default() }
    }

    fn heal(&self) {
        *self.fails_at.lock() = None;
    }

    fn open(&self, root: &Path) -> io::Result<LocalBucket> {
        LocalBucket::open_with(root, Box::new(self.clone()))
    }
}

impl SyncDir for ScriptedSync {
    fn sync(&self, dir: &Path) -> io::Result<()> {
        match &*self.fails_at.lock() {
            Some((fails_at, kind)) if fails_at == dir => Err(io::Error::from(*kind)),
            _ => {
                Fsync.sync(dir)?;
                self.synced.lock().push(dir.to_owned());
                Ok(())
            }
        }
    }
}

fn files_below(dir: &Path) -> usize {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance::check(Arc::new(LocalBucket::open(dir.path()).unwrap()), "one").await;
    assert_eq!(files_below(&dir.path().join(PRIVATE_DIR).join("temporary-0")), 0);
}

/// Two buckets over one directory exclude each other only by what other processes see, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_openings_of_a_directory_are_one_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let first: Arc<dyn Bucket> = Arc::new(LocalBucket::open(dir.path()).unwrap());
    let second: Arc<dyn Bucket> = Arc::new(LocalBucket::open(dir.path()).unwrap());
    conformance::check_races(&[Arc::clone(&first), Arc::clone(&second)], "races").await;
    first.put("a/b", Bytes::from_static(b"x"), PutCondition::Always, None).await.unwrap();
    assert_eq!(second.get("a/b", GetRange::Full).await.unwrap().body, "x");
}

#[tokio::test]
async fn what_a_crash_left_is_removed_and_what_is_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let private = dir.path().join(PRIVATE_DIR);
    let running = LocalBucket::open(dir.path()).unwrap();
    let in_use = running.shared.slot.dir().join("9");
    fs::write(&in_use, "half").unwrap();
    fs::create_dir(private.join("temporary-1")).unwrap();
    fs::write(private.join("temporary-1").join("3"), "left").unwrap();

    let next = LocalBucket::open(dir.path()).unwrap();
    assert!(in_use.exists());
    assert_eq!(files_below(&private.join("temporary-1")), 0);
    assert_ne!(next.shared.slot.dir(), running.shared.slot.dir());
    assert_eq!(next.list("", None, 10).await.unwrap(), ListPage::default());

    drop(running);
    LocalBucket::open(dir.path()).unwrap();
    assert!(!in_use.exists());
}

/// Otherwise whoever tries again after an unknown outcome would find the own put-id and take a name for durable that is not.
#[tokio::test]
async fn an_object_that_is_met_is_reported_only_when_its_name_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let sync = ScriptedSync::failing_at(dir.path().join("fresh/0"), ErrorKind::Other);
    let bucket = sync.open(dir.path()).unwrap();
    let put = |condition| bucket.put("fresh/0/k", Bytes::from_static(b"x"), condition, Some(PutId([7; 16])));

    assert!(put(PutCondition::IfAbsent).await.unwrap_err().outcome_unknown());
    let stale = Etag::new("of-another-object");
    for condition in [PutCondition::IfAbsent, PutCondition::IfMatch(stale)] {
        for _ in 0..3 {
            let error = put(condition.clone()).await.unwrap_err();
            assert!(error.is_retryable() && !error.outcome_unknown(), "{error:?}");
            assert!(!matches!(error, BucketError::PreconditionFailed { .. }), "{error:?}");
        }
    }
    sync.heal();
    let error = put(PutCondition::IfAbsent).await.unwrap_err();
    assert!(matches!(error, BucketError::PreconditionFailed { .. }));
    assert_eq!(sync.synced.lock().last(), Some(&dir.path().join("fresh/0")));
    assert_eq!(bucket.head("fresh/0/k").await.unwrap().put_id, Some(PutId([7; 16])));
}

#[test]
fn the_root_is_made_durable_with_every_directory_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data/farwatch/bucket");
    let expected = ["", "data", "data/farwatch", "data/farwatch/bucket"].map(|below| dir.path().join(below));
    // The second time, all are there: made by one who may have ended before they were durable.
    for _ in 0..2 {
        let sync = ScriptedSync::default();
        sync.open(&root).unwrap();
        let synced = sync.synced.lock();
        let below: Vec<&PathBuf> = synced.iter().filter(|synced| synced.starts_with(dir.path())).collect();
        assert!(
            below.iter().map(|synced| synced.components()).eq(expected.iter().map(|dir| dir.components()))
        );
    }
}

#[test]
fn what_cannot_be_made_durable_is_an_error_unless_the_system_made_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data/bucket");
    for above in [dir.path().to_owned(), dir.path().join("data"), root.clone()] {
        let sync = ScriptedSync::failing_at(above, ErrorKind::PermissionDenied);
        // Also the second time: what the first left behind is not taken for one of the system's.
        for _ in 0..2 {
            assert_eq!(sync.open(&root).unwrap_err().kind(), ErrorKind::PermissionDenied);
        }
    }
    LocalBucket::open(&root).unwrap();
    ScriptedSync::failing_at(dir.path().to_owned(), ErrorKind::PermissionDenied).open(&root).unwrap();
    let broken = ScriptedSync::failing_at(dir.path().to_owned(), ErrorKind::Other);
    assert_eq!(broken.open(&root).unwrap_err().kind(), ErrorKind::Other);
}

#[tokio::test]
async fn a_foreign_file_is_an_error_and_not_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = LocalBucket::open(dir.path()).unwrap();
    for (name, content) in [("short", "x".to_owned()), ("long", "x".repeat(100))] {
        fs::write(dir.path().join(name), content).unwrap();
        assert!(matches!(bucket.get(name, GetRange::Full).await, Err(BucketError::Invalid { .. })));
        assert!(matches!(bucket.head(name).await, Err(BucketError::Invalid { .. })));
    }
}

#[tokio::test]
async fn a_key_cannot_be_the_directory_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = LocalBucket::open(dir.path()).unwrap();
    let put = |key| bucket.put(key, Bytes::from_static(b"x"), PutCondition::Always, None);
    put("a/b").await.unwrap();
    assert!(matches!(put("a").await, Err(BucketError::Invalid { .. })));
    assert!(matches!(put("a/b/c").await, Err(BucketError::Invalid { .. })));
    assert!(matches!(bucket.get("a", GetRange::Full).await, Err(BucketError::NotFound { .. })));
    assert!(matches!(bucket.get("a/b/c", GetRange::Full).await, Err(BucketError::NotFound { .. })));
}

#[test]
fn a_full_disk_is_called_one() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::ReadOnlyFilesystem] {
        let error = failed(Operation::Put, "k", PutOutcome::NotDone, io::Error::from(kind));
        assert!(matches!(error, BucketError::NoRoom { .. }) && !error.is_retryable(), "{error:?}");
        // What may have been done has to be looked for.
        let error = failed(Operation::Put, "k", PutOutcome::Unknown, io::Error::from(kind));
        assert!(error.is_retryable() && error.outcome_unknown(), "{error:?}");
    }
}

/// For example `mount -t tmpfs -o size=256k tmpfs DIR`, then `FARWATCH_SMALL_DISK=DIR cargo test … -- --ignored a_disk_that_fills_up`.
#[tokio::test]
#[ignore = "needs a file system of its own, of less than 1 MiB, at FARWATCH_SMALL_DISK"]
async fn a_disk_that_fills_up_keeps_what_it_has_and_serves_again() {
    let root = PathBuf::from(std::env::var("FARWATCH_SMALL_DISK").unwrap()).join("bucket");
    let bucket = LocalBucket::open(&root).unwrap();
    let body = Bytes::from(vec![7; 20_000]);
    let mut keys = Vec::new();
    let error = loop {
        let key = format!("fresh/{}", keys.len());
        match bucket.put(&key, body.clone(), PutCondition::IfAbsent, None).await {
            Ok(_) => keys.push(key),
            Err(error) => break error,
        }
        assert!(keys.len() < 100, "the disk is too large");
    };
    assert!(matches!(error, BucketError::NoRoom { .. }), "{error:?}");
    let listed = bucket.list("", None, 1_000).await.unwrap().objects;
    assert_eq!(listed.len(), keys.len());
    for key in &keys {
        assert_eq!(bucket.get(key, GetRange::Full).await.unwrap().body, body);
    }
    bucket.delete_many(&keys).await.unwrap();
    bucket.put("fresh/again", body, PutCondition::IfAbsent, None).await.unwrap();
    bucket.delete_many(&["fresh/again".to_owned()]).await.unwrap();
}
