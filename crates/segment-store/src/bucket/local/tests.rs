use super::*;
use crate::testing::conformance;

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
    let error = failed(Operation::Put, "k", PutOutcome::NotDone, io::Error::from(ErrorKind::StorageFull));
    assert!(error.is_retryable() && !error.outcome_unknown());
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("disk of the bucket is full"), "{source}");
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
    assert!(error.is_retryable() && !error.outcome_unknown(), "{error:?}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("is full"), "{error:?}");
    let listed = bucket.list("", None, 1_000).await.unwrap().objects;
    assert_eq!(listed.len(), keys.len());
    for key in &keys {
        assert_eq!(bucket.get(key, GetRange::Full).await.unwrap().body, body);
    }
    bucket.delete_many(&keys).await.unwrap();
    bucket.put("fresh/again", body, PutCondition::IfAbsent, None).await.unwrap();
    bucket.delete_many(&["fresh/again".to_owned()]).await.unwrap();
}
