//! Told to stop, it finishes what it has begun: what was acked is there at the next start, and it does not take for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use segment_store::{Clock as _, SystemClock};

use crate::harness::promapi::ask;
use crate::harness::remote_write::{request, series, write};
use crate::harness::{Farwatch, Options, now_ms};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_loses_nothing_acked_and_ends_in_time() {
    let mut server = Farwatch::start().await;
    let base = now_ms() - 60_000;
    let stop = AtomicBool::new(false);
    // Eight writers, each with a series of its own; the number of the last acked sample of each.
    let write_until_stopped = async |writer: usize, server: &Farwatch| {
        let name = writer.to_string();
        let mut acked = 0;
        while !stop.load(Ordering::Relaxed) {
            let sample = [(base + acked, acked as f64)];
            let message = request([series(&[("__name__", "shutdown"), ("writer", &name)], &sample)]);
            match write(server, &message).await {
                Ok((status, _)) if status < 300 => acked += 1,
                _ => break,
            }
        }
        acked
    };
    let clock = SystemClock::new();
    let acked = {
        let shared = Arc::new(&server);
        let writers = futures::future::join_all((0..8).map(|writer| write_until_stopped(writer, &shared)));
        let end = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            server.signal_termination();
        };
        let (acked, ()) = futures::future::join(writers, end).await;
        acked
    };
    stop.store(true, Ordering::Relaxed);
    assert_eq!(server.wait().await, Some(0), "{}", server.said());
    assert!(clock.monotonic() < Duration::from_secs(20));
    assert!(acked.iter().all(|count| *count > 0), "{acked:?}");

    server.restart().await;
    for (writer, acked) in acked.iter().enumerate() {
        let form = [
            ("query", format!("count_over_time(shutdown{{writer=\"{writer}\"}}[1h])")),
            ("time", (now_ms() as f64 / 1_000.0).to_string()),
        ];
        let answer = ask(server.post("/api/v1/query"), &form).await.unwrap();
        let found = answer.values().next().unwrap().points[0].1;
        // One more may have been stored without its ack having got through.
        assert!(
            found >= *acked as f64 && found <= *acked as f64 + 1.0,
            "writer {writer}: {found} of {acked}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_for_company_is_stored_at_once() {
    let mut server = Farwatch::start_with(Options::with(&["--linger", "10s"])).await;
    let clock = SystemClock::new();
    let message = request([series(&[("__name__", "lonely")], &[(now_ms(), 1.0)])]);
    let end = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.signal_termination();
    };
    let (written, ()) = futures::future::join(write(&server, &message), end).await;
    assert_eq!(written.unwrap().0, 204);
    assert_eq!(server.wait().await, Some(0), "{}", server.said());
    assert!(clock.monotonic() < Duration::from_secs(5), "{}", server.said());
}

#[tokio::test]
async fn an_idle_server_ends_at_once_and_says_so() {
    let mut server = Farwatch::start().await;
    let clock = SystemClock::new();
    assert_eq!(server.terminate().await, Some(0));
    assert!(clock.monotonic() < Duration::from_secs(5));
}
