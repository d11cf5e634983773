//! What every [`Bucket`] must do. One suite, run against each implementation and each wrapper.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::{Bucket, BucketError, Etag, GetRange, ObjectMeta, PutCondition, PutId};

/// Runs every check on `bucket`, with keys below `prefix` only (which must hold nothing yet, and is no key with a slash at its end).
///
/// # Panics
/// When the bucket does not conform.
pub async fn check(bucket: Arc<dyn Bucket>, prefix: &str) {
    let at = |check: &str| Keys { prefix: format!("{prefix}/{check}") };
    reads_back_what_was_put(&*bucket, &at("put")).await;
    reads_ranges(&*bucket, &at("range")).await;
    misses_what_is_not_there(&*bucket, &at("missing")).await;
    puts_if_absent(&*bucket, &at("absent")).await;
    puts_if_match(&*bucket, &at("match")).await;
    reads_again_only_what_changed(&*bucket, &at("changed")).await;
    lists_in_order_by_pages(&*bucket, &at("list")).await;
    deletes_many(&*bucket, &at("delete")).await;
    refuses_bad_keys(&*bucket).await;
    never_shows_half_an_object(&bucket, &at("whole")).await;
    check_races(&[Arc::clone(&bucket), bucket], &at("races").prefix).await;
}

/// Runs the checks that need concurrent writers, spread over `buckets`, which are one bucket opened several times.
///
/// # Panics
/// When the bucket does not conform.
pub async fn check_races(buckets: &[Arc<dyn Bucket>], prefix: &str) {
    let keys = Keys { prefix: prefix.to_owned() };
    for round in 0..8 {
        one_of_many_creators_wins(buckets, &keys.key(&format!("create-{round}"))).await;
        one_of_many_replacers_wins(buckets, &keys.key(&format!("replace-{round}"))).await;
    }
    no_addition_is_lost(buckets, &keys.key("lines")).await;
}

struct Keys {
    prefix: String,
}

impl Keys {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn reads_back_what_was_put(bucket: &dyn Bucket, keys: &Keys) {
    let large: Bytes = (0..6_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, body) in [("empty", Bytes::new()), ("small", bytes("hello")), ("large", large)] {
        for put_id in [None, Some(PutId([0xa5; 16])), Some(PutId([0; 16]))] {
            let key = keys.key(name);
            let etag = bucket.put(&key, body.clone(), PutCondition::Always, put_id).await.unwrap();
            let object = bucket.get(&key, GetRange::Full).await.unwrap();
            assert!(object.body == body, "{name}: not what was put");
            assert_eq!((object.etag, object.len), (etag.clone(), body.len() as u64), "{name}");
            let meta = bucket.head(&key).await.unwrap();
            assert_eq!(meta, ObjectMeta { len: body.len() as u64, etag, put_id }, "{name}");
        }
    }
    let first = bucket.put(&keys.key("small"), bytes("a"), PutCondition::Always, None).await.unwrap();
    let second = bucket.put(&keys.key("small"), bytes("b"), PutCondition::Always, None).await.unwrap();
    assert_ne!(first, second, "another content needs another etag");
}

async fn reads_ranges(bucket: &dyn Bucket, keys: &Keys) {
    let key = keys.key("digits");
    let etag = bucket.put(&key, bytes("0123456789"), PutCondition::Always, None).await.unwrap();
    let good = [
        (GetRange::Full, "0123456789"),
        (GetRange::Range(0..10), "0123456789"),
        (GetRange::Range(0..1), "0"),
        (GetRange::Range(3..7), "3456"),
        (GetRange::Range(9..10), "9"),
        (GetRange::Range(8..1_000), "89"),
        (GetRange::Suffix(1), "9"),
        (GetRange::Suffix(10), "0123456789"),
        (GetRange::Suffix(11), "0123456789"),
    ];
    for (range, expected) in good {
        let object = bucket.get(&key, range.clone()).await.unwrap();
        assert_eq!(object.body, expected, "{range:?}");
        assert_eq!((object.len, object.etag), (10, etag.clone()), "{range:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "this is what is refused")]
    let bad = [
        GetRange::Range(10..11),
        GetRange::Range(11..20),
        GetRange::Range(4..4),
        GetRange::Range(5..4),
        GetRange::Suffix(0),
    ];
    for range in bad {
        let error = bucket.get(&key, range.clone()).await.unwrap_err();
        assert!(matches!(error, BucketError::Invalid { .. }), "{range:?}: {error:?}");
    }
    let empty = keys.key("empty");
    bucket.put(&empty, Bytes::new(), PutCondition::Always, None).await.unwrap();
    assert_eq!(bucket.get(&empty, GetRange::Full).await.unwrap().len, 0);
    let error = bucket.get(&empty, GetRange::Suffix(5)).await.unwrap_err();
    assert!(matches!(error, BucketError::Invalid { .. }), "{error:?}");
}

async fn misses_what_is_not_there(bucket: &dyn Bucket, keys: &Keys) {
    let key = keys.key("nothing/here");
    let etag = Etag::new("\"0123\"");
    let errors = [
        bucket.get(&key, GetRange::Full).await.err(),
        bucket.get(&key, GetRange::Suffix(3)).await.err(),
        bucket.get_if_changed(&key, None).await.err(),
        bucket.get_if_changed(&key, Some(&etag)).await.err(),
        bucket.head(&key).await.err(),
    ];
    for (number, error) in errors.into_iter().enumerate() {
        let error = error.expect("there is no such object");
        assert!(
            matches!(&error, BucketError::NotFound { key: named, .. } if *named == key),
            "{number}: {error:?}"
        );
        assert!(!error.is_retryable() && !error.outcome_unknown());
    }
}

fn is_precondition_failed(answer: &Result<Etag, BucketError>) -> bool {
    matches!(answer, Err(BucketError::PreconditionFailed { .. }))
}

async fn puts_if_absent(bucket: &dyn Bucket, keys: &Keys) {
    let key = keys.key("once");
    let (mine, other) = (Some(PutId([1; 16])), Some(PutId([2; 16])));
    let etag = bucket.put(&key, bytes("first"), PutCondition::IfAbsent, mine).await.unwrap();
    for (body, put_id) in [("second", other), ("first", other), ("first", mine)] {
        let answer = bucket.put(&key, bytes(body), PutCondition::IfAbsent, put_id).await;
        assert!(is_precondition_failed(&answer), "{answer:?}");
    }
    assert_eq!(bucket.head(&key).await.unwrap(), ObjectMeta { len: 5, etag, put_id: mine });
    bucket.delete_many(std::slice::from_ref(&key)).await.unwrap();
    bucket.put(&key, bytes("again"), PutCondition::IfAbsent, other).await.unwrap();
    assert_eq!(bucket.head(&key).await.unwrap().put_id, other);
}

async fn puts_if_match(bucket: &dyn Bucket, keys: &Keys) {
    let key = keys.key("manifest");
    let first = bucket.put(&key, bytes("1"), PutCondition::IfAbsent, None).await.unwrap();
    let second = bucket
        .put(&key, bytes("2"), PutCondition::IfMatch(first.clone()), Some(PutId([9; 16])))
        .await
        .unwrap();
    let answer = bucket.put(&key, bytes("3"), PutCondition::IfMatch(first.clone()), None).await;
    assert!(is_precondition_failed(&answer), "{answer:?}");
    let object = bucket.get(&key, GetRange::Full).await.unwrap();
    assert_eq!((object.body, object.etag), (bytes("2"), second));
    assert_eq!(bucket.head(&key).await.unwrap().put_id, Some(PutId([9; 16])));

    let missing = keys.key("missing");
    let answer = bucket.put(&missing, bytes("x"), PutCondition::IfMatch(first), None).await;
    assert!(is_precondition_failed(&answer), "{answer:?}");
    assert!(matches!(bucket.head(&missing).await, Err(BucketError::NotFound { .. })));
}

async fn reads_again_only_what_changed(bucket: &dyn Bucket, keys: &Keys) {
    let key = keys.key("directory");
    let first = bucket.put(&key, bytes("one"), PutCondition::Always, None).await.unwrap();
    let object = bucket.get_if_changed(&key, None).await.unwrap().expect("nothing is known yet");
    assert_eq!((object.body, object.etag, object.len), (bytes("one"), first.clone(), 3));
    assert!(bucket.get_if_changed(&key, Some(&first)).await.unwrap().is_none());
    let second = bucket.put(&key, bytes("two!"), PutCondition::Always, None).await.unwrap();
    let object = bucket.get_if_changed(&key, Some(&first)).await.unwrap().expect("it changed");
    assert_eq!((object.body, object.etag, object.len), (bytes("two!"), second, 4));
}

async fn list_all(
    bucket: &dyn Bucket,
    prefix: &str,
    start_after: Option<&str>,
    max_keys: usize,
) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = Vec::new();
    let mut after = start_after.map(str::to_owned);
    loop {
        let page = bucket.list(prefix, after.as_deref(), max_keys).await.unwrap();
        assert!(page.objects.len() <= max_keys, "more than was asked for");
        found.extend(page.objects.into_iter().map(|object| (object.key, object.len)));
        if !page.truncated {
            return found;
        }
        let last = found.last().expect("a truncated page is not empty").0.clone();
        assert!(after.replace(last.clone()) != Some(last), "the page does not get on");
    }
}

async fn lists_in_order_by_pages(bucket: &dyn Bucket, keys: &Keys) {
    // Around the slash: '-' and '.' sort before it, digits and letters after it.
    let names = ["a", "b-c", "b.c", "b/a", "b/b/c", "b/d", "b0", "b_", "bb/x", "c/1", "c/10", "c/2", "d"];
    for (len, name) in names.iter().rev().enumerate() {
        bucket.put(&keys.key(name), Bytes::from(vec![b'x'; len]), PutCondition::Always, None).await.unwrap();
    }
    let mut all: Vec<(String, u64)> =
        names.iter().rev().enumerate().map(|(len, name)| (keys.key(name), len as u64)).collect();
    all.sort();
    let expected = |prefix: &str, after: &str| -> Vec<(String, u64)> {
        all.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after).cloned().collect()
    };
    let root = format!("{}/", keys.prefix);
    for max_keys in [1, 2, 5, 13, 14, 1_000] {
        assert_eq!(list_all(bucket, &root, None, max_keys).await, all, "pages of {max_keys}");
    }
    for prefix in ["", "b", "b/", "b/b", "c/1", "c/", "none"] {
        let prefix = keys.key(prefix);
        assert_eq!(list_all(bucket, &prefix, None, 3).await, expected(&prefix, ""), "{prefix}");
        for after in ["", "a", "b", "b-c", "b/", "b/a", "b/b", "b/b/c", "b/zz", "b0", "c/10", "c/3", "zz"] {
            let after = keys.key(after);
            let found = list_all(bucket, &prefix, Some(&after), 3).await;
            assert_eq!(found, expected(&prefix, &after), "{prefix} after {after}");
        }
    }
    let exact = bucket.list(&root, None, names.len()).await.unwrap();
    assert!(!exact.truncated, "nothing follows the last key");
}

async fn deletes_many(bucket: &dyn Bucket, keys: &Keys) {
    let (gone, kept) = (keys.key("gone"), keys.key("kept"));
    for key in [&gone, &kept] {
        bucket.put(key, bytes("x"), PutCondition::Always, None).await.unwrap();
    }
    bucket.delete_many(&[]).await.unwrap();
    // More than S3 takes in one request, most of which were never there.
    let mut many: Vec<String> = (0..1_001).map(|number| keys.key(&format!("never-{number}"))).collect();
    many.push(gone.clone());
    for _ in 0..2 {
        bucket.delete_many(&many).await.unwrap();
        assert!(matches!(bucket.head(&gone).await, Err(BucketError::NotFound { .. })));
        assert_eq!(list_all(bucket, &keys.key(""), None, 10).await, [(kept.clone(), 1)]);
    }
}

async fn refuses_bad_keys(bucket: &dyn Bucket) {
    for key in ["", "/x", "x/", "a//b", "../x", "a/../b", ".hidden", "a b", "ü"] {
        let errors = [
            bucket.put(key, bytes("x"), PutCondition::Always, None).await.err(),
            bucket.get(key, GetRange::Full).await.err(),
            bucket.get_if_changed(key, None).await.err(),
            bucket.head(key).await.err(),
            bucket.delete_many(&[key.to_owned()]).await.err(),
        ];
        for error in errors {
            let error = error.expect("a bad key");
            assert!(matches!(error, BucketError::Invalid { .. }), "{key:?}: {error:?}");
        }
    }
}

async fn never_shows_half_an_object(bucket: &Arc<dyn Bucket>, keys: &Keys) {
    let key = keys.key("object");
    let body = |letter: u8| Bytes::from(vec![letter; 10_000 * usize::from(letter - b'a' + 1)]);
    bucket.put(&key, body(b'a'), PutCondition::Always, None).await.unwrap();
    let mut tasks = JoinSet::new();
    for letter in b'b'..=b'e' {
        let (bucket, key) = (Arc::clone(bucket), key.clone());
        tasks.spawn(async move {
            for _ in 0..5 {
                bucket.put(&key, body(letter), PutCondition::Always, None).await.unwrap();
            }
        });
    }
    for _ in 0..30 {
        let object = bucket.get(&key, GetRange::Full).await.unwrap();
        let first = object.body[0];
        assert!(object.body == body(first) && object.len == object.body.len() as u64, "half an object");
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

const RACERS: u8 = 8;

/// Lets every racer put its number with its own put-id, all at once. Losers may also be told to try again.
async fn race(buckets: &[Arc<dyn Bucket>], key: &str, condition: &PutCondition) -> Vec<u8> {
    let mut tasks = JoinSet::new();
    for racer in 0..RACERS {
        let bucket = Arc::clone(&buckets[usize::from(racer) % buckets.len()]);
        let (key, condition) = (key.to_owned(), condition.clone());
        tasks.spawn(async move {
            let answer =
                bucket.put(&key, Bytes::from(vec![racer]), condition, Some(PutId([racer; 16]))).await;
            match answer {
                Ok(_) => Some(racer),
                Err(BucketError::PreconditionFailed { .. }) => None,
                Err(error) if error.is_retryable() => None,
                Err(error) => unreachable!("a loser of a race is told so: {error:?}"),
            }
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

async fn one_of_many_creators_wins(buckets: &[Arc<dyn Bucket>], key: &str) {
    let winners = race(buckets, key, &PutCondition::IfAbsent).await;
    expect_one_winner(buckets, key, &winners).await;
}

async fn one_of_many_replacers_wins(buckets: &[Arc<dyn Bucket>], key: &str) {
    let etag = buckets[0].put(key, bytes("start"), PutCondition::IfAbsent, None).await.unwrap();
    let winners = race(buckets, key, &PutCondition::IfMatch(etag)).await;
    expect_one_winner(buckets, key, &winners).await;
}

async fn expect_one_winner(buckets: &[Arc<dyn Bucket>], key: &str, winners: &[u8]) {
    let [winner] = winners else { unreachable!("{key}: winners {winners:?}, there must be one") };
    for bucket in buckets {
        let object = bucket.get(key, GetRange::Full).await.unwrap();
        assert_eq!(object.body[..], [*winner], "{key}");
        assert_eq!(bucket.head(key).await.unwrap().put_id, Some(PutId([*winner; 16])), "{key}");
    }
}

/// Read, add a line, put if unchanged, again when that failed: as manifests are committed.
async fn no_addition_is_lost(buckets: &[Arc<dyn Bucket>], key: &str) {
    const ROUNDS: u8 = 4;
    buckets[0].put(key, Bytes::new(), PutCondition::IfAbsent, None).await.unwrap();
    let mut tasks = JoinSet::new();
    for writer in 0..RACERS {
        let (bucket, key) = (Arc::clone(&buckets[usize::from(writer) % buckets.len()]), key.to_owned());
        tasks.spawn(async move {
            for round in 0..ROUNDS {
                let line = format!("{writer}.{round}");
                while !add_line(&*bucket, &key, &line).await {}
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let object = buckets[0].get(key, GetRange::Full).await.unwrap();
    let mut lines: Vec<&str> = std::str::from_utf8(&object.body).unwrap().lines().collect();
    assert_eq!(lines.len(), usize::from(RACERS * ROUNDS), "{lines:?}");
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), usize::from(RACERS * ROUNDS), "a line was added twice");
}

/// Whether `line` is in the object now.
async fn add_line(bucket: &dyn Bucket, key: &str, line: &str) -> bool {
    let object = bucket.get(key, GetRange::Full).await.unwrap();
    let text = std::str::from_utf8(&object.body).unwrap();
    // Some servers answer a lost race with a 500, after which nobody knows until the next look.
    if text.lines().any(|found| found == line) {
        return true;
    }
    let body = Bytes::from(format!("{text}{line}\n"));
    match bucket.put(key, body, PutCondition::IfMatch(object.etag), None).await {
        Ok(_) => true,
        Err(BucketError::PreconditionFailed { .. }) => false,
        Err(error) => {
            assert!(error.is_retryable(), "{error:?}");
            false
        }
    }
}
