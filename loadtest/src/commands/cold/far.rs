//! A bucket that is further away: a proxy that passes answers on some time after they came.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes that are passed on at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks of one connection that are on their way: more than any connection brings in a delay.
const CHUNKS_AHEAD: usize = 4_096;

/// The proxy. It takes no more connections when it is dropped.
#[derive(Debug)]
pub(super) struct Far {
    /// The port on the loopback that it listens on.
    pub(super) port: u16,
    listener: JoinHandle<()>,
}

impl Far {
    /// Passes on to the port `upstream` of the loopback, and back `delay` later.
    pub(super) async fn start(upstream: u16, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let listener = tokio::spawn(async move {
            loop {
                // A client that is gone already is nobody's concern, and what goes wrong with a connection ends it.
                let Ok((client, _)) = listener.accept().await else { continue };
                tokio::spawn(async move { drop(pass_on(client, upstream, delay).await) });
            }
        });
        Ok(Self { port, listener })
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn pass_on(client: TcpStream, upstream: u16, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", upstream)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut asking, mut to_client) = client.into_split();
    let (mut answering, mut to_server) = server.into_split();
    let (later, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_AHEAD);
    let read = async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let read @ 1.. = answering.read(&mut chunk).await? {
            if later.send((Instant::now() + delay, chunk[..read].to_vec())).await.is_err() {
                break;
            }
        }
        Ok::<(), io::Error>(())
    };
    let write = async move {
        while let Some((at, chunk)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            to_client.write_all(&chunk).await?;
        }
        Ok::<(), io::Error>(())
    };
    tokio::select! {
        asked = tokio::io::copy(&mut asking, &mut to_server) => asked.map(drop),
        answered = async { tokio::try_join!(read, write) } => answered.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_come_later_and_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await.unwrap();
        });
        let delay = Duration::from_millis(30);
        let far = Far::start(upstream, delay).await.unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", far.port)).await.unwrap();
        let sent: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        let begun = Instant::now();
        let mut answer = vec![0; sent.len()];
        let (mut from, mut to) = stream.split();
        let both = async { tokio::try_join!(to.write_all(&sent), from.read_exact(&mut answer)) };
        both.await.unwrap();
        assert!(begun.elapsed() >= delay);
        assert!(answer == sent);
    }
}
