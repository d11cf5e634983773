//! The bucket away, the process going down, the wrong server.

use std::sync::Arc;
use std::time::Duration;

use crate::support::messages::request;
use crate::support::{Setup, World, remote_write};
use http::StatusCode;
use segment_store::testing::{Faults, Faulty, MemoryBucket};
use segment_store::{Bucket, GroupCommitSettings, Seed};

#[tokio::test(start_paused = true)]
async fn without_the_bucket_writes_are_to_come_again_and_say_nothing_of_it() {
    let refused = Faults { refused: 1000, ..Faults::default() };
    let faulty = Arc::new(Faulty::new(Arc::new(MemoryBucket::default()), refused, &Seed::from_number(3)));
    let bucket: Arc<dyn Bucket> = faulty.clone();
    let commit = GroupCommitSettings { put_time: Duration::ZERO, ..Setup::default().commit };
    let world = World::with(Setup { bucket: Some(bucket), commit, ..Setup::default() });
    let answer = world.write(&request(&["up"])).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.text().contains("send the same request again"), "{}", answer.text());
    for word in ["fresh/", "bucket", "put", "segment"] {
        assert!(!answer.text().contains(word), "{}", answer.text());
    }
    assert_eq!(world.ingest.snapshot().float_samples, 0);

    faulty.heal();
    assert_eq!(world.write(&request(&["up"])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.stored_names("acme").await, ["up"]);
}

#[tokio::test(start_paused = true)]
async fn shutdown_finishes_what_began_and_turns_the_rest_away() {
    // Long enough that the request is in flight when shutdown begins: time stands still until both wait.
    let commit = GroupCommitSettings { linger: Duration::from_secs(3600), ..GroupCommitSettings::default() };
    let world = World::with(Setup { commit, ..Setup::default() });
    let before = request(&["before"]);
    let began = world.write(&before);
    let stop = async {
        while world.ingest.snapshot().active_series == 0 {
            tokio::task::yield_now().await;
        }
        world.ingest.shutdown().await;
    };
    let (answer, ()) = tokio::join!(began, stop);
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(world.stored_names("acme").await, ["before"]);

    let answer = world.write(&request(&["after"])).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().contains("shutting down"), "{}", answer.text());
    assert_eq!(world.stored_names("acme").await, ["before"]);
}

#[tokio::test]
async fn a_shard_of_another_server_is_turned_away() {
    let world = World::new();
    let answer = world.send(remote_write(Some(&world.keys.elsewhere), &request(&["up"]))).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(world.stored("elsewhere").await.is_empty());
}
