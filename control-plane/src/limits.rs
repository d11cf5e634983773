//! Bounds of this crate.

use std::time::Duration;

/// Largest request body, in bytes. The largest documented one, a key with a full list of networks, has some 4 KiB.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// A request takes no longer, or is answered 503.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Connections to the database.
pub const MAX_CONNECTIONS: u32 = 16;

/// A request waits so long for a connection to the database, or is answered 503.
pub const CONNECTION_TIME: Duration = Duration::from_secs(5);

/// Shortest password, in bytes (NIST SP 800-63B asks for 8 characters at least).
pub const MIN_PASSWORD_BYTES: usize = 10;

/// Longest password, in bytes: long enough for any pass phrase.
pub const MAX_PASSWORD_BYTES: usize = 256;

/// Longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3, without the brackets).
pub const MAX_EMAIL_BYTES: usize = 254;

/// Longest name of an organisation, a tenant or a key, in characters.
pub const MAX_NAME_CHARS: usize = 80;

/// Most of what is wrong with a body that its sender is told, in characters: it repeats what was sent.
pub const MAX_TOLD_CHARS: usize = 400;

/// Passwords hashed at once in one process: each takes some 19 MiB and a core.
pub const MAX_HASHES_AT_ONCE: usize = 4;

/// A request waits so long for its turn to hash a password, or is answered 503.
pub const HASH_WAIT: Duration = Duration::from_secs(10);

/// Life of an access token: how long somebody who stole one can use it at most.
pub const ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(10 * 60);

/// Life of a session, however often it is refreshed.
pub const SESSION_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long the link of a signup is good.
pub const SIGNUP_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long the link of a password reset is good.
pub const RESET_LIFE: Duration = Duration::from_secs(3600);

/// How long an invitation is good.
pub const INVITATION_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Most organisations that one account may have made or joined.
pub const MAX_ORGANISATIONS_PER_USER: i64 = 50;

/// Most members of an organisation.
pub const MAX_MEMBERS: i64 = 1_000;

/// Most open invitations of an organisation.
pub const MAX_INVITATIONS: i64 = 200;

/// Most tenants of an organisation, deleted ones not counted.
pub const MAX_TENANTS: i64 = 100;

/// The data of a deleted tenant is deleted so much later, in ms: a day. By then its keys are refused everywhere, and what it had
/// written is compacted, counted and in the database.
pub const ERASURE_WAIT_MS: i64 = DAY_MS;

/// Most keys of a tenant that are neither revoked nor expired.
pub const MAX_KEYS: i64 = 200;

/// Most networks that one key is bound to.
pub const MAX_NETWORKS: usize = 50;

/// Longest life that a key may be given, in ms: ten years.
pub const MAX_KEY_LIFE_MS: i64 = 10 * 366 * DAY_MS;

/// Longest time for which a rotated key may stay good beside its successor, in seconds: 30 days.
pub const MAX_OVERLAP_S: i64 = 30 * 24 * 3600;

/// A revoked or expired key is named in the directory for so long, so that who uses it is told why it is refused.
pub const DEAD_KEYS_LISTED_MS: i64 = 30 * DAY_MS;

/// A region that telemetry has not named for so long, in ms, is one that production has left: 30 days.
pub const FOOTPRINT_LIFE_MS: i64 = 30 * DAY_MS;

/// A conflict with a tenant's place is over when telemetry has not named its region for so long, in ms: a day.
pub const CONFLICT_LIFE_MS: i64 = DAY_MS;

/// Longest id of a cell, in bytes.
pub const MAX_CELL_ID_BYTES: usize = 40;

/// Most entries of each list that a tenant declares of its place.
pub const MAX_DECLARED_PLACES: usize = 100;

/// Most capacity that a tenant may declare where its plan has no ceiling, in samples a second: a fifth of a cell as they are by
/// default.
pub const MAX_DECLARED_CAPACITY: u64 = 10_000_000;

/// Most different places that a tenant's telemetry is counted for: more than anybody runs in, unless telemetry makes them up.
pub const MAX_FOOTPRINT_ROWS: usize = 500;

/// The limits that leases share are read again after so long: with a lease's refresh each 2 s, a limit that is lowered holds
/// within 5 s.
pub const LEASED_LIMITS_TIME: Duration = Duration::from_secs(1);

/// Ledgers of leases that nobody uses are forgotten so often.
pub const LEDGERS_SWEPT_EVERY: Duration = Duration::from_secs(60);

/// That a limit is nearly reached is told once in so long, in ms: a day.
pub const LIMIT_NOTICE_PAUSE_MS: i64 = DAY_MS;

/// Most rows in one answer.
pub const MAX_PAGE: i64 = 200;

/// Mails that wait to be sent in one process; more are dropped, with a line in the log.
pub const MAX_MAILS_WAITING: usize = 1_000;

/// Sending one mail takes no longer.
pub const MAIL_TIME: Duration = Duration::from_secs(30);

/// The outbox is looked at so often, even if nobody says that there is something: what a crash left, or another process's.
pub const OUTBOX_INTERVAL: Duration = Duration::from_secs(1);

/// Most outbox rows settled by one publication.
pub const MAX_OUTBOX_ROWS: i64 = 10_000;

/// How often a publication is tried when others publish at the same time, before waiting for the next turn.
pub const MAX_PUBLISH_ATTEMPTS: usize = 5;

/// What has expired is deleted so often.
pub const CLEANUP_INTERVAL: Duration = Duration::from_secs(600);

/// Addresses and accounts whose attempts are counted at once in one process; beyond it the quiet ones are forgotten first.
pub const MAX_THROTTLED: usize = 100_000;

/// Longest `Authorization` header value looked at, in bytes. An access token has some 300.
pub const MAX_AUTHORIZATION_BYTES: usize = 2048;

/// Ledgers are looked at so often even if nobody says that they changed: one request a tenant, or $0.0035 a month.
pub const FOLD_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Reports of processes are collected so often: one listing, or $0.22 a month.
pub const ACTIVITY_INTERVAL: Duration = Duration::from_secs(60);

/// Most reports read at once.
pub const MAX_REPORTS: usize = 100;

/// For so long it is known which reports were counted: longer than one that is counted can fail to be deleted.
pub const REPORTS_KNOWN_MS: i64 = 30 * DAY_MS;

/// Most metric names, or API keys, of a tenant that are counted apart in a month. What goes beyond has no name in bills.
pub const MAX_ATTRIBUTED_NAMES: usize = 5_000;

/// Longest text from telemetry that goes into an index of the database, in bytes: PostgreSQL refuses rows of more than 2.7 KB
/// there, and a row has three such texts at most.
pub const MAX_INDEXED_BYTES: usize = 512;

/// Stored bytes are measured so often.
pub const MEASURE_INTERVAL_MS: i64 = 3_600_000;

/// A month's invoices are final so long after its end, in seconds: two days, for writes that were held up. What comes later is
/// billed by the next invoice.
pub const INVOICE_GRACE_S: i64 = 2 * 24 * 3600;

/// Two processes' clocks differ by less, in ms: what changed so shortly before an invoice was final may not be in it.
pub const CLOCK_SLACK_MS: i64 = 3_600_000;

/// Most credits that an organisation was ever granted.
pub const MAX_CREDITS: usize = 1_000;

/// Longest reason of a credit or reference of a payment, in characters.
pub const MAX_REASON_CHARS: usize = 200;

/// A request to a payment provider takes no longer.
pub const PAYMENT_TIME: Duration = Duration::from_secs(20);

/// Largest answer of a payment provider that is read, in bytes.
pub const MAX_PAYMENT_ANSWER_BYTES: usize = 256 << 10;

/// A page on which an invoice can be paid is good for so long. (Stripe: at most 24 hours.)
pub const PAYMENT_PAGE_LIFE: Duration = Duration::from_secs(23 * 3600);

/// How old the signature of a webhook may be, in seconds, as Stripe's own libraries have it.
pub const WEBHOOK_TOLERANCE_S: i64 = 300;

/// A day in ms.
pub const DAY_MS: i64 = 24 * 3600 * 1000;
