//! The S3 server is killed with -9 and started again; its data stays.

use std::time::Instant;

use rand_chacha::ChaCha8Rng;

use super::Strike;
use super::cell::{ALL, Cell, part_of};
use super::s3_server::S3Server;
use super::traffic::Traffic;
use crate::cli::Drill;
use crate::clock;
use crate::commands::CommandError;

pub(super) struct S3 {
    fault_time: std::time::Duration,
}

/// Starts the S3 server that was named.
pub(super) async fn start(args: &Drill) -> Result<S3Server, CommandError> {
    let needed = "this drill needs an --s3-server, such as \
         \"python3 crates/segment-store/tests/support/radosgw_server.py\"";
    S3Server::start(args.s3_server.as_deref().ok_or(CommandError::Usage(needed))?).await
}

/// Puts data on an S3 server if one was named.
pub(super) async fn use_if_given(args: &Drill, cell: &mut Cell) -> Result<(), CommandError> {
    if let Some(command) = &args.s3_server {
        let server = S3Server::start(command).await?;
        let port = server.port;
        cell.use_s3(server, port);
    }
    Ok(())
}

impl Strike for S3 {
    async fn set_up(args: &Drill, cell: &mut Cell) -> Result<Self, CommandError> {
        let server = start(args).await?;
        let port = server.port;
        cell.use_s3(server, port);
        cell.start(ALL).await?;
        Ok(Self { fault_time: args.fault_time })
    }

    async fn strike(
        &mut self,
        cell: &mut Cell,
        _traffic: &Traffic,
        rng: &mut ChaCha8Rng,
    ) -> Result<Instant, CommandError> {
        if let Some(server) = cell.s3() {
            server.kill().await?;
            tokio::time::sleep(part_of(self.fault_time, rng)).await;
            server.revive().await?;
        }
        Ok(clock::now())
    }
}
