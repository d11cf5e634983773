//! A proxy between servers and their object store that is as unreliable as it is told to be.
//!
//! It knows nothing of HTTP but that one side asks and the other answers: bytes from the client after bytes from the server begin
//! another exchange. What happens to an exchange is decided when it begins.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes that are passed on at a time.
const CHUNK_BYTES: usize = 16 << 10;
/// The longest delay of an exchange that is delayed.
const DELAY_MAX: Duration = Duration::from_millis(400);
/// How long an exchange is held back that comes late: the client has given up by then, and tried again.
const LATE: Duration = Duration::from_secs(12);
/// The longest that is waited for the answer to what came late.
const LATE_ANSWER: Duration = Duration::from_secs(10);

/// How probable each mishap is, for every exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Weather {
    /// The connection is cut in the middle of the request.
    pub(super) cut_request: f64,
    /// It is cut when the answer comes, of which nothing is passed on: the work is done, and nobody knows.
    pub(super) lose_answer: f64,
    /// It is cut in the middle of the answer.
    pub(super) cut_answer: f64,
    /// The request is passed on later.
    pub(super) delay: f64,
    /// The request is passed on when the client has given up.
    pub(super) late: f64,
}

/// How often each of them happened.
#[derive(Debug, Default)]
pub(super) struct Mishaps {
    pub(super) cut_requests: AtomicU64,
    pub(super) lost_answers: AtomicU64,
    pub(super) cut_answers: AtomicU64,
    pub(super) delays: AtomicU64,
    pub(super) late: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    weather: Mutex<Weather>,
    rng: Mutex<ChaCha8Rng>,
    mishaps: Mishaps,
    /// While this is true, nothing is passed on.
    hangs: watch::Sender<bool>,
    /// Connections made before this was changed are cut.
    cut: watch::Sender<u64>,
}

/// The proxy. Connections are cut when it is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    /// The port on the loopback that it listens on.
    pub(super) port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

/// What happens to an exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Fine,
    /// After so many bytes.
    CutRequest(usize),
    LoseAnswer,
    /// After so many bytes.
    CutAnswer(usize),
    Delay(Duration),
    Late,
}

impl Proxy {
    /// Begins to pass on to the port `upstream` of the loopback.
    pub(super) async fn start(upstream: u16, seed: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            upstream,
            weather: Mutex::default(),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            mishaps: Mishaps::default(),
            hangs: watch::Sender::new(false),
            cut: watch::Sender::new(0),
        });
        let mut proxy = Self { port: 0, shared, listener: None };
        proxy.accept().await?;
        Ok(proxy)
    }

    /// What may happen to exchanges from now on.
    pub(super) fn set(&self, weather: Weather) {
        *lock(&self.shared.weather) = weather;
    }

    /// What happened.
    pub(super) fn mishaps(&self) -> &Mishaps {
        &self.shared.mishaps
    }

    /// Cuts every connection and refuses new ones.
    pub(super) async fn refuse(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
            // The port is free when the task has gone.
            let _ = listener.await;
        }
        self.shared.cut.send_modify(|cut| *cut += 1);
    }

    /// Takes connections again, on the same port.
    pub(super) async fn accept(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await?;
        self.port = listener.local_addr()?.port();
        let shared = self.shared.clone();
        self.listener = Some(tokio::spawn(async move {
            loop {
                // A client that is gone already is nobody's concern.
                let Ok((client, _)) = listener.accept().await else { continue };
                let shared = shared.clone();
                tokio::spawn(async move {
                    let mut cut = shared.cut.subscribe();
                    tokio::select! {
                        // What goes wrong with a connection ends it.
                        _ = pass_on(&shared, client) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        }));
        Ok(())
    }

    /// Passes nothing on any more, in either direction, or all again.
    pub(super) fn hang(&self, hangs: bool) {
        self.shared.hangs.send_replace(hangs);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
        self.shared.cut.send_modify(|cut| *cut += 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn fate(&self) -> Fate {
        let weather = *lock(&self.weather);
        let rng = &mut *lock(&self.rng);
        let mut draw: f64 = rng.random();
        let mut happens = |probability: f64| {
            draw -= probability;
            draw < 0.0
        };
        if happens(weather.cut_request) {
            return Fate::CutRequest(rng.random_range(1..2_000));
        }
        if happens(weather.lose_answer) {
            return Fate::LoseAnswer;
        }
        if happens(weather.cut_answer) {
            return Fate::CutAnswer(rng.random_range(1..500));
        }
        if happens(weather.delay) {
            return Fate::Delay(DELAY_MAX.mul_f64(rng.random()));
        }
        if happens(weather.late) { Fate::Late } else { Fate::Fine }
    }

    async fn wait_while_hanging(&self) {
        // The sender lives as long as this.
        let _ = self.hangs.subscribe().wait_for(|hangs| !hangs).await;
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Serves one connection until either side ends it, or its fate does.
async fn pass_on(shared: &Shared, mut client: TcpStream) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", shared.upstream)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asked, mut answered) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut fate = Fate::Fine;
    let (mut is_answer, mut passed) = (true, 0);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let read = read?;
                shared.wait_while_hanging().await;
                if read == 0 {
                    return Ok(());
                }
                if std::mem::take(&mut is_answer) {
                    (fate, passed) = (shared.fate(), 0);
                    if let Fate::Delay(delay) = fate {
                        count(&shared.mishaps.delays);
                        tokio::time::sleep(delay).await;
                    }
                    if fate == Fate::Late {
                        count(&shared.mishaps.late);
                        tokio::time::sleep(LATE).await;
                        return pass_on_late(client, server, &asked[..read]).await;
                    }
                }
                if let Fate::CutRequest(after) = fate && passed + read > after {
                    count(&shared.mishaps.cut_requests);
                    server.write_all(&asked[..after.saturating_sub(passed)]).await?;
                    return Ok(());
                }
                server.write_all(&asked[..read]).await?;
                passed += read;
            }
            read = server.read(&mut answered) => {
                let read = read?;
                shared.wait_while_hanging().await;
                if read == 0 {
                    return Ok(());
                }
                if !std::mem::replace(&mut is_answer, true) {
                    passed = 0;
                }
                if fate == Fate::LoseAnswer {
                    count(&shared.mishaps.lost_answers);
                    return Ok(());
                }
                if let Fate::CutAnswer(after) = fate && passed + read > after {
                    count(&shared.mishaps.cut_answers);
                    client.write_all(&answered[..after.saturating_sub(passed)]).await?;
                    return Ok(());
                }
                client.write_all(&answered[..read]).await?;
                passed += read;
            }
        }
    }
}

/// Gives the server all that the client had sent by the time it gave up.
async fn pass_on_late(mut client: TcpStream, mut server: TcpStream, first: &[u8]) -> io::Result<()> {
    server.write_all(first).await?;
    tokio::io::copy(&mut client, &mut server).await?;
    // Who closes before the answer may have its request dropped.
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(LATE_ANSWER, server.read_to_end(&mut answer)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each line with itself, counting lines.
    async fn echo() -> (u16, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = Arc::new(AtomicU64::new(0));
        let counted = lines.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let lines = counted.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 64];
                    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                        count(&lines);
                        stream.write_all(&bytes[..read]).await.unwrap();
                    }
                });
            }
        });
        (port, lines)
    }

    async fn ask(port: u16) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"0123456789").await?;
        let mut answer = vec![0; 10];
        let mut read = 0;
        while read < 10 {
            match stream.read(&mut answer[read..]).await? {
                0 => break,
                more => read += more,
            }
        }
        answer.truncate(read);
        Ok(answer)
    }

    #[tokio::test]
    async fn in_fair_weather_all_is_passed_on_and_otherwise_what_was_ordered_happens() {
        let (upstream, lines) = echo().await;
        let mut proxy = Proxy::start(upstream, 7).await.unwrap();
        assert_eq!(ask(proxy.port).await.unwrap(), b"0123456789");
        assert_eq!(lines.load(Ordering::Relaxed), 1);

        proxy.set(Weather { lose_answer: 1.0, ..Weather::default() });
        assert_eq!(ask(proxy.port).await.unwrap_or_default(), b"");
        assert_eq!(lines.load(Ordering::Relaxed), 2, "the work was done");
        assert_eq!(proxy.mishaps().lost_answers.load(Ordering::Relaxed), 1);

        proxy.set(Weather { delay: 1.0, ..Weather::default() });
        assert_eq!(ask(proxy.port).await.unwrap(), b"0123456789");
        assert_eq!(proxy.mishaps().delays.load(Ordering::Relaxed), 1);

        proxy.set(Weather::default());
        proxy.refuse().await;
        assert!(ask(proxy.port).await.is_err());
        let port = proxy.port;
        proxy.accept().await.unwrap();
        assert_eq!((proxy.port, ask(port).await.unwrap().len()), (port, 10));
    }

    #[tokio::test]
    async fn while_it_hangs_nothing_comes_through_and_afterwards_all() {
        let (upstream, lines) = echo().await;
        let proxy = Proxy::start(upstream, 7).await.unwrap();
        proxy.hang(true);
        let asking = tokio::spawn(ask(proxy.port));
        tokio::task::yield_now().await;
        assert_eq!(lines.load(Ordering::Relaxed), 0);
        proxy.hang(false);
        assert_eq!(asking.await.unwrap().unwrap(), b"0123456789");
    }
}
