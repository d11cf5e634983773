//! Single flight: of all who need a page at the same time, one fetches it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::FetchError;
use super::page::PageKey;

/// What a flight ends with; `None` until then.
type Landing = Option<Result<Bytes, FetchError>>;

/// The pages that are being fetched.
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<PageKey, watch::Receiver<Landing>>>,
}

/// A place in a flight.
#[derive(Debug)]
pub(super) struct Passenger(watch::Receiver<Landing>);

/// The duty to fetch a page. Dropped without [`Pilot::land`], the passengers learn that nothing came of it.
#[derive(Debug)]
pub(super) struct Pilot {
    flights: Arc<Flights>,
    key: PageKey,
    announce: watch::Sender<Landing>,
}

impl Flights {
    /// A place in the flight of `key`, and the duty to fly it where there is none yet.
    pub(super) fn board(self: &Arc<Self>, key: PageKey) -> (Passenger, Option<Pilot>) {
        match self.under_way.lock().entry(key) {
            Entry::Occupied(flight) => (Passenger(flight.get().clone()), None),
            Entry::Vacant(place) => {
                let (announce, landing) = watch::channel(None);
                let pilot = Pilot { flights: Arc::clone(self), key: place.key().clone(), announce };
                place.insert(landing.clone());
                (Passenger(landing), Some(pilot))
            }
        }
    }
}

impl Pilot {
    pub(super) fn number(&self) -> u32 {
        self.key.number
    }

    /// Ends the flight. What was fetched must be in the cache already: who comes now looks there.
    pub(super) fn land(self, result: Result<Bytes, FetchError>) {
        self.announce.send_replace(Some(result));
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.flights.under_way.lock().remove(&self.key);
    }
}

impl Passenger {
    /// Waits for the page.
    pub(super) async fn arrive(mut self) -> Result<Bytes, FetchError> {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => result.clone(),
            _ => Err(FetchError::Abandoned),
        }
    }
}
