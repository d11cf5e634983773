//! Writers at full speed, the process killed with -9 at random moments: every sample that was acked before a kill is there
//! afterwards, once, with its value.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng as _;
use segment_store::Seed;

use crate::harness::promapi::{Labels, ask};
use crate::harness::remote_write::{request, series, write};
use crate::harness::{Farwatch, now_ms};

const KILLS: usize = 22;
const WRITERS: usize = 6;
/// Series of each writer; every request has one sample for each.
const SERIES: usize = 20;

/// A writer's state: sample number n has time `base + n` ms and a value that names writer and number.
struct Writer {
    name: String,
    /// The next number to send.
    next: i64,
    /// Numbers that were acked.
    acked: Vec<i64>,
}

impl Writer {
    fn value(&self, number: i64) -> f64 {
        let writer: f64 = self.name.parse().unwrap();
        writer * 1e9 + number as f64 * 2.0 + 0.5
    }

    /// Sends until the server is gone.
    async fn send_until_killed(&mut self, server: &Farwatch, base: i64) {
        loop {
            let number = self.next;
            // A number is never sent again: whether it was stored is open when no ack came.
            self.next += 1;
            let sample = [(base + number, self.value(number))];
            let message = request((0..SERIES).map(|index| {
                let index = index.to_string();
                series(&[("__name__", "crash"), ("series", &index), ("writer", &self.name)], &sample)
            }));
            match write(server, &message).await {
                Ok((status, _)) if status < 300 => self.acked.push(number),
                Ok((status, text)) => panic!("a good write got {status}: {text}"),
                Err(_) => return,
            }
        }
    }

    async fn check(&self, server: &Farwatch, base: i64, kill: usize) {
        let form = [
            ("query", format!("crash{{writer=\"{}\"}}[1h]", self.name)),
            ("time", ((base + self.next + 1) as f64 / 1_000.0).to_string()),
        ];
        let answer = ask(server.post("/api/v1/query"), &form).await.unwrap();
        // A kill may come before anything of this writer was acked; then there may be nothing.
        let nothing = self.acked.is_empty() && answer.is_empty();
        assert!(
            nothing || answer.len() == SERIES,
            "after kill {kill}, writer {} has {} of {SERIES} series, {} requests acked",
            self.name,
            answer.len(),
            self.acked.len()
        );
        for (labels, series) in &answer {
            let found: BTreeMap<i64, f64> = series
                .points
                .iter()
                .map(|(at, value)| ((at * 1_000.0).round() as i64 - base, *value))
                .collect();
            assert_eq!(found.len(), series.points.len(), "a time twice in {labels:?}");
            let lost: Vec<i64> =
                self.acked.iter().copied().filter(|number| !found.contains_key(number)).collect();
            assert!(
                lost.is_empty(),
                "after kill {kill}, {} lost {lost:?} of {:?}",
                name(labels),
                self.acked.len()
            );
            for (number, value) in found {
                assert_eq!(value, self.value(number), "{} at {number}", name(labels));
            }
        }
    }
}

fn name(labels: &Labels) -> String {
    format!("{labels:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acked_is_lost_when_the_process_is_killed() {
    let mut random = Seed::from_os().unwrap().rng();
    let base = now_ms() - 600_000;
    let mut server = Farwatch::start().await;
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|writer| Writer { name: writer.to_string(), next: 0, acked: Vec::new() }).collect();
    for kill in 1..=KILLS {
        let wait = Duration::from_millis(random.random_range(5..250));
        let (_, ()) = {
            let sending = futures::future::join_all(
                writers.iter_mut().map(|writer| writer.send_until_killed(&server, base)),
            );
            let killing = async {
                tokio::time::sleep(wait).await;
                server.signal_kill();
            };
            futures::future::join(sending, killing).await
        };
        server.kill().await;
        server.restart().await;
        for writer in &writers {
            writer.check(&server, base, kill).await;
        }
    }
    // A slow machine may kill before the first ack of a life, but not in each of them.
    let acked: usize = writers.iter().map(|writer| writer.acked.len() * SERIES).sum();
    assert!(acked > KILLS * SERIES, "{acked} samples acked");
    println!("{KILLS} kills, {acked} samples acked, none lost");
}
