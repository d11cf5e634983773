//! A tail that remembers what it was told.

use parking_lot::Mutex;

use crate::{FlushOutcome, SegmentKey, TailOffer, TailSink};

/// What a tail was told.
#[derive(Clone, Debug)]
pub enum TailEvent {
    /// [`TailSink::offer`]
    Offered(TailOffer),
    /// [`TailSink::settle`]
    Settled(SegmentKey, FlushOutcome),
}

/// Remembers offers and settlements in order, and checks that each segment has one of both, in this order.
#[derive(Debug, Default)]
pub struct RecordingTail {
    events: Mutex<Vec<TailEvent>>,
}

impl RecordingTail {
    /// What it was told so far.
    #[must_use]
    pub fn events(&self) -> Vec<TailEvent> {
        self.events.lock().clone()
    }

    /// Settlements so far, in order.
    #[must_use]
    pub fn settled(&self) -> Vec<(SegmentKey, FlushOutcome)> {
        let settled = |event: &TailEvent| match event {
            TailEvent::Settled(segment, outcome) => Some((*segment, *outcome)),
            TailEvent::Offered(_) => None,
        };
        self.events.lock().iter().filter_map(settled).collect()
    }
}

impl TailSink for RecordingTail {
    fn offer(&self, offer: TailOffer) {
        let mut events = self.events.lock();
        let again = events.iter().any(|e| matches!(e, TailEvent::Offered(o) if o.segment == offer.segment));
        assert!(!again, "{} was offered twice", offer.segment);
        events.push(TailEvent::Offered(offer));
    }

    fn settle(&self, segment: &SegmentKey, outcome: FlushOutcome) {
        let mut events = self.events.lock();
        let offered = events.iter().any(|e| matches!(e, TailEvent::Offered(o) if o.segment == *segment));
        let settled = events.iter().any(|e| matches!(e, TailEvent::Settled(s, _) if s == segment));
        assert!(offered && !settled, "{segment} was not offered, or settled already");
        events.push(TailEvent::Settled(*segment, outcome));
    }
}
