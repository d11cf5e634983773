use std::sync::atomic::AtomicBool;

use super::super::{GroupCommit, GroupCommitParts, GroupCommitSettings};
use super::*;
use crate::WorkOn;
use crate::testing::{
    Hook, Hooked, MemoryBucket, RecordingTail, Request, SimClock, TailEvent, float_rows, tenant,
};
use crate::{Bucket, BucketError, PutCondition, Seed, ShardId};

/// Every request is a flush of its own, at once.
fn start(tail: Arc<dyn TailSink>, bucket: Arc<dyn Bucket>, flushes_in_flight: usize) -> Arc<GroupCommit> {
    Arc::new(GroupCommit::start(GroupCommitParts {
        bucket,
        shard: ShardId(0),
        tail,
        clock: Arc::new(SimClock::new(1_767_225_600_000, 0)),
        seed: Seed::from_number(1),
        work_on: WorkOn::BlockingThreads,
        settings: GroupCommitSettings { flush_bytes: 1, flushes_in_flight, ..GroupCommitSettings::default() },
    }))
}

fn spawn(commit: &Arc<GroupCommit>, rows: MetricRows) -> tokio::task::JoinHandle<Answer> {
    let commit = Arc::clone(commit);
    tokio::spawn(async move { commit.commit(tenant("a"), rows).await })
}

fn offered(tail: &RecordingTail) -> Vec<SegmentKey> {
    let offered = |event: &TailEvent| match event {
        TailEvent::Offered(offer) => Some(offer.segment),
        TailEvent::Settled(..) => None,
    };
    tail.events().iter().filter_map(offered).collect()
}

#[tokio::test]
async fn a_small_flush_is_not_offered_before_a_large_one_with_an_earlier_name() {
    let tail = Arc::new(RecordingTail::default());
    let commit = start(Arc::clone(&tail) as _, Arc::new(MemoryBucket::default()), 8);
    // Backwards, so that sorting takes its time: far longer than all that the others do.
    let samples: Vec<_> = (0..50_000).rev().map(|at| ("large", at, 1.0)).collect();
    let large = spawn(&commit, float_rows(&samples));
    let small: Vec<_> = (0..5).map(|at| spawn(&commit, float_rows(&[("small", at, 1.0)]))).collect();
    let mut keys = vec![large.await.unwrap().unwrap()];
    for request in small {
        keys.push(request.await.unwrap().unwrap());
    }
    assert!(keys.is_sorted(), "{keys:?}");
    assert_eq!(offered(&tail), keys);
}

/// Also while names are taken and flushes wait for a place in flight: nobody waits for one who waits for him.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn offers_are_in_the_order_of_names_whatever_holds_flushes_up() {
    for flushes_in_flight in [1, 2, 8] {
        let tail = Arc::new(RecordingTail::default());
        let inner = Arc::new(MemoryBucket::default());
        let bucket = Arc::new(Hooked::new(inner, Thief::default()));
        let commit = start(Arc::clone(&tail) as _, bucket, flushes_in_flight);
        let requests: Vec<_> = (0..100)
            .map(|number| {
                let samples: Vec<_> = (0..(number % 7) * 50).rev().map(|at| ("m", at, 1.0)).collect();
                spawn(&commit, float_rows(&[&samples[..], &[("n", number, 1.0)]].concat()))
            })
            .collect();
        for request in requests {
            request.await.unwrap().unwrap();
        }
        let offered = offered(&tail);
        assert!(offered.is_sorted(), "{offered:?}");
        let taken = usize::try_from(commit.stats().names_taken).unwrap();
        assert!(taken > 0);
        assert_eq!(offered.len(), 100 + taken);
    }
}

/// Breaks off the first who offers it anything.
#[derive(Debug, Default)]
struct BreaksOnce {
    broke: AtomicBool,
    tail: RecordingTail,
}

impl TailSink for BreaksOnce {
    fn offer(&self, offer: TailOffer) {
        assert!(self.broke.swap(true, Ordering::SeqCst), "the tail is broken");
        self.tail.offer(offer);
    }

    fn settle(&self, segment: &SegmentKey, outcome: FlushOutcome) {
        self.tail.settle(segment, outcome);
    }
}

#[tokio::test]
async fn a_flush_that_breaks_off_does_not_hold_up_those_behind_it() {
    let tail = Arc::new(BreaksOnce::default());
    let commit = start(Arc::clone(&tail) as _, Arc::new(MemoryBucket::default()), 8);
    let broken = spawn(&commit, float_rows(&[("m", 1, 1.0)]));
    let others: Vec<_> = (2..5).map(|at| spawn(&commit, float_rows(&[("m", at, 1.0)]))).collect();
    assert!(matches!(broken.await.unwrap(), Err(CommitError::BrokenOff(_))));
    let mut keys = Vec::new();
    for request in others {
        keys.push(request.await.unwrap().unwrap());
    }
    assert_eq!(offered(&tail.tail), keys);
}

/// Gives every eighth name that is put to somebody else.
#[derive(Debug, Default)]
struct Thief {
    puts: AtomicUsize,
}

#[async_trait::async_trait]
impl Hook for Thief {
    async fn before(&self, bucket: &dyn Bucket, request: Request<'_>) -> Result<(), BucketError> {
        if let Request::Put { key } = request
            && self.puts.fetch_add(1, Ordering::SeqCst) % 8 == 3
        {
            let other = Some(PutId([0xee; 16]));
            bucket.put(key, Bytes::from_static(b"other"), PutCondition::IfAbsent, other).await?;
        }
        Ok(())
    }
}
