use segment_store::{LocalBucket, Seed};
use tenancy::Scope;

use super::*;

const NOW_MS: i64 = 1_790_000_000_000;

struct Place {
    directory: tempfile::TempDir,
    bucket: LocalBucket,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bucket = LocalBucket::open(&directory.path().join("bucket")).unwrap();
        Self { directory, bucket }
    }

    async fn start(
        &self,
        anonymous: Option<&str>,
        key_file: Option<&Path>,
    ) -> Result<Setup, DirectorySetupError> {
        let anonymous = anonymous.map(|name| TenantId::new(name).unwrap());
        let parts = SetupParts {
            bucket: &self.bucket,
            data_dir: self.directory.path(),
            bootstrap_key_file: key_file,
            anonymous_tenant: anonymous.as_ref(),
            now_ms: NOW_MS,
        };
        parts.set_up(&mut Seed::from_os().unwrap().rng()).await
    }
}

fn bearer(key: &str) -> Vec<u8> {
    format!("Bearer {key}").into_bytes()
}

#[tokio::test]
async fn the_first_start_gives_a_key_that_later_starts_know_but_do_not_show() {
    let place = Place::new();
    let first = place.start(None, None).await.unwrap();
    let key = first.first_key.unwrap();
    let text = key.key.expose().to_owned();
    key.shown().unwrap();

    let second = place.start(None, None).await.unwrap();
    assert!(second.first_key.is_none());
    let principal = second.access.authorize(Some(&bearer(&text)), Scope::MetricsWrite, NOW_MS).unwrap();
    assert_eq!(principal.tenant.id.as_str(), FIRST_TENANT);
    assert!(second.access.authorize(None, Scope::MetricsRead, NOW_MS).is_err());
}

#[tokio::test]
async fn a_key_that_nobody_saw_is_shown_by_the_next_start() {
    let place = Place::new();
    let lost = place.start(None, None).await.unwrap().first_key.unwrap().key.expose().to_owned();
    let again = place.start(None, None).await.unwrap().first_key.unwrap();
    assert_eq!(again.key.expose(), lost);
}

#[tokio::test]
async fn the_key_goes_to_the_file_that_was_named() {
    let place = Place::new();
    let file = place.directory.path().join("handed-over");
    let setup = place.start(None, Some(&file)).await.unwrap();
    assert!(setup.first_key.is_none());
    assert_eq!(setup.key_file.as_deref(), Some(&*file));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(setup.access.authorize(Some(&bearer(text.trim())), Scope::MetricsRead, NOW_MS).is_ok());

    // Later starts with the same settings leave it alone.
    check_bootstrap_key_file(place.directory.path(), &file).unwrap();
    let later = place.start(None, Some(&file)).await.unwrap();
    assert!(later.first_key.is_none() && later.key_file.is_none());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn a_file_that_holds_another_key_is_never_overwritten() {
    let place = Place::new();
    let file = place.directory.path().join("handed-over");
    std::fs::write(&file, "another key").unwrap();
    let taken = check_bootstrap_key_file(place.directory.path(), &file);
    assert!(matches!(taken, Err(DirectorySetupError::KeyFileTaken(_))));
    let refused = place.start(None, Some(&file)).await;
    assert!(matches!(refused, Err(DirectorySetupError::KeyFileTaken(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "another key");
    assert!(place.bucket.head(DIRECTORY_KEY).await.is_err());

    let nowhere = check_bootstrap_key_file(place.directory.path().join("new").as_path(), &file.join("key"));
    assert!(matches!(nowhere, Err(DirectorySetupError::NoPlaceForKeyFile(_))));
}

#[tokio::test]
async fn an_anonymous_tenant_is_added_to_a_directory_that_is_there() {
    let place = Place::new();
    let text = place.start(None, None).await.unwrap().first_key.unwrap().key.expose().to_owned();
    let setup = place.start(Some("guests"), None).await.unwrap();
    let anonymous = setup.access.authorize(None, Scope::MetricsWrite, NOW_MS).unwrap();
    assert_eq!(anonymous.tenant.id.as_str(), "guests");
    let known = setup.access.authorize(Some(&bearer(&text)), Scope::MetricsWrite, NOW_MS).unwrap();
    assert_eq!(known.tenant.id.as_str(), FIRST_TENANT);
    assert!(setup.access.authorize(Some(b"Bearer wrong"), Scope::MetricsWrite, NOW_MS).is_err());
}

#[tokio::test]
async fn a_directory_of_somebody_else_is_refused() {
    let place = Place::new();
    place.start(None, None).await.unwrap();
    let copy = std::fs::read(place.directory.path().join(SIGNING_KEY_FILE)).unwrap();
    std::fs::remove_file(place.directory.path().join(SIGNING_KEY_FILE)).unwrap();
    let Err(refused @ DirectorySetupError::Untrusted { .. }) = place.start(None, None).await else {
        panic!("it is not signed with this key");
    };
    let (text, key_file) = (refused.to_string(), place.directory.path().join(SIGNING_KEY_FILE));
    for part in [key_file.to_str().unwrap(), "copy directory.key from there", "another bucket or prefix"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    std::fs::write(&key_file, copy).unwrap();
    assert!(place.start(None, None).await.is_ok(), "what the message says to do helps");

    std::fs::write(place.directory.path().join(SIGNING_KEY_FILE), "not a key").unwrap();
    assert!(matches!(place.start(None, None).await, Err(DirectorySetupError::SigningKey(_))));
}

#[tokio::test(start_paused = true)]
async fn a_new_document_is_in_force_within_five_seconds_and_a_bad_one_never() {
    let place = Place::new();
    let setup = place.start(None, None).await.unwrap();
    let seed = std::fs::read_to_string(place.directory.path().join(SIGNING_KEY_FILE)).unwrap();
    let signer = DirectorySigner::from_seed(&seed_from_hex(seed.trim()).unwrap());
    let bucket: Arc<dyn Bucket> = Arc::new(place.bucket);
    let clock: Arc<dyn Clock> = Arc::new(segment_store::ManualClock::new(NOW_MS));
    let stop = CancellationToken::new();
    let poller =
        tokio::spawn(poll(Arc::clone(&bucket), Arc::clone(&setup.access), setup.etag, clock, stop.clone()));

    let publish = async |body: Vec<u8>| {
        bucket.put(DIRECTORY_KEY, body.into(), PutCondition::Always, None).await.unwrap();
    };
    publish(b"garbage".to_vec()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(setup.access.directory().version(), 1);

    let document = DirectoryDocument { version: 7, issued_at_ms: NOW_MS, tenants: vec![tenant("other")] };
    publish(document.publish(&signer).unwrap()).await;
    // Time stands still while a file is read, so the clock alone does not say that the poller was through.
    for _ in 0..1_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if setup.access.directory().version() == 7 {
            break;
        }
    }
    assert_eq!(setup.access.directory().version(), 7);
    stop.cancel();
    poller.await.unwrap();
}
