//! Deletes what has expired and nobody needs any more. Doing it again does nothing.

use super::App;
use crate::db::{DbError, invitations, placements, sessions, signups, usage, users};
use crate::limits::{FOOTPRINT_LIFE_MS, REPORTS_KNOWN_MS};

impl App {
    /// One round.
    pub(crate) async fn clean_up(&self) -> Result<(), DbError> {
        let now_ms = self.now_ms();
        let mut change = self.db.change().await?;
        signups::drop_expired(change.conn(), now_ms).await?;
        users::drop_expired_resets(change.conn(), now_ms).await?;
        sessions::drop_expired(change.conn(), now_ms).await?;
        invitations::drop_expired(change.conn(), now_ms).await?;
        usage::drop_reports(change.conn(), now_ms - REPORTS_KNOWN_MS).await?;
        placements::drop_old_footprints(change.conn(), now_ms - FOOTPRINT_LIFE_MS).await?;
        change.commit_silently().await
    }
}
