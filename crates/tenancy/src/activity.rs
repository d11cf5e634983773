//! When API keys were used, and what was stored by them: for who tells a key's owner, and divides bills.

use std::collections::HashMap;
use std::mem;

use parking_lot::Mutex;
use telemetry::TenantId;

use crate::directory::Principal;
use crate::key::KeyId;

/// What one API key did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyActivity {
    /// Its tenant.
    pub tenant: TenantId,
    /// The last request, in milliseconds since the Unix epoch.
    pub last_used_ms: i64,
    /// Samples stored. A retry counts again.
    pub samples: u64,
}

/// What all keys did in this process since somebody asked. There are no more of them than the directory has keys.
#[derive(Debug, Default)]
pub(crate) struct KeyLog(Mutex<HashMap<KeyId, KeyActivity>>);

impl KeyLog {
    /// A request that is let in. Those without a key are nobody's.
    pub(crate) fn note_use(&self, principal: &Principal, now_ms: i64) {
        self.change(principal, |activity| activity.last_used_ms = activity.last_used_ms.max(now_ms));
    }

    /// Samples that were stored.
    pub(crate) fn note_stored(&self, principal: &Principal, samples: u64) {
        self.change(principal, |activity| activity.samples = activity.samples.saturating_add(samples));
    }

    pub(crate) fn take(&self) -> Vec<(KeyId, KeyActivity)> {
        mem::take(&mut *self.0.lock()).into_iter().collect()
    }

    fn change(&self, principal: &Principal, change: impl FnOnce(&mut KeyActivity)) {
        let Some(key) = principal.key else { return };
        let mut keys = self.0.lock();
        change(keys.entry(key).or_insert_with(|| KeyActivity {
            tenant: principal.tenant.id.clone(),
            last_used_ms: i64::MIN,
            samples: 0,
        }));
    }
}
