//! A proxy before the object store cuts, delays and loses, all the time, and refuses or hangs for a while.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;

use super::cell::{ALL, Cell, part_of};
use super::proxy::{Proxy, Weather};
use super::traffic::Traffic;
use super::{Figures, Strike};
use crate::cli::Drill;
use crate::clock;
use crate::commands::CommandError;

/// What may happen to every request.
const WEATHER: Weather =
    Weather { cut_request: 0.06, lose_answer: 0.04, cut_answer: 0.04, delay: 0.06, late: 0.003 };

pub(super) struct Network {
    proxy: Proxy,
    fault_time: Duration,
    refusals: u64,
    hangs: u64,
}

fn no_proxy(source: std::io::Error) -> CommandError {
    CommandError::Tool { words: "the proxy".to_owned(), reason: source.to_string() }
}

impl Strike for Network {
    async fn set_up(args: &Drill, cell: &mut Cell) -> Result<Self, CommandError> {
        let server = super::s3::start(args).await?;
        let proxy = Proxy::start(server.port, args.seed).await.map_err(no_proxy)?;
        cell.use_s3(server, proxy.port);
        cell.start(ALL).await?;
        proxy.set(WEATHER);
        Ok(Self { proxy, fault_time: args.fault_time, refusals: 0, hangs: 0 })
    }

    async fn strike(
        &mut self,
        _cell: &mut Cell,
        _traffic: &Traffic,
        rng: &mut ChaCha8Rng,
    ) -> Result<Instant, CommandError> {
        let time = part_of(self.fault_time, rng);
        if self.refusals <= self.hangs {
            self.refusals += 1;
            self.proxy.refuse().await;
            tokio::time::sleep(time).await;
            self.proxy.accept().await.map_err(no_proxy)?;
        } else {
            self.hangs += 1;
            self.proxy.hang(true);
            tokio::time::sleep(time).await;
            self.proxy.hang(false);
        }
        Ok(clock::now())
    }

    async fn calm(&mut self, _cell: &mut Cell, _traffic: &Traffic) -> Result<(), CommandError> {
        self.proxy.set(Weather::default());
        Ok(())
    }

    fn figures(&self) -> Figures {
        let mishaps = self.proxy.mishaps();
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Figures::from([
            ("requests to S3 cut", of(&mishaps.cut_requests)),
            ("answers of S3 lost", of(&mishaps.lost_answers)),
            ("answers of S3 cut", of(&mishaps.cut_answers)),
            ("requests to S3 delayed", of(&mishaps.delays)),
            ("requests to S3 passed on when given up", of(&mishaps.late)),
            ("times that connections were refused", self.refusals),
            ("times that everything hung", self.hangs),
        ])
    }
}
