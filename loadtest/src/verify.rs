//! Reads back what was written and compares it sample by sample.
//!
//! What was acked must be there, once and with its value. What was sent but not acked may be there or not, since an
//! ack can get lost on its way; but if it is there, then with its value. Anything else must not be there.

use std::collections::HashMap;

use serde::Serialize;

use crate::api::{ApiError, Client, QueriedSeries, SeriesKey};
use crate::limits::{FINDINGS_LISTED_MAX, VERIFY_SAMPLES_PER_QUERY};
use crate::progress::Progress;

/// A sample that was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sent {
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// The value.
    pub value: f64,
    /// Whether the server said that it has it.
    pub acked: bool,
}

/// All that was sent of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedSeries {
    /// Which one.
    pub key: SeriesKey,
    /// Ascending by timestamp, without doubles.
    pub sent: Vec<Sent>,
}

/// The series that one selector finds: these and no others.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// A PromQL instant selector.
    pub selector: String,
    /// What it must find.
    pub series: Vec<ExpectedSeries>,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Acked samples that are there, with their value.
    pub acked_found: u64,
    /// Samples that were not acked and are there, with their value.
    pub unacked_found: u64,
    /// Samples that were not acked and are not there.
    pub unacked_absent: u64,
    /// Acked samples that are not there.
    pub lost: u64,
    /// Samples with another value than was sent.
    pub wrong: u64,
    /// Samples that are there more than once.
    pub repeated: u64,
    /// Samples that nobody sent.
    pub unexpected: u64,
    /// The first of what is wrong, one line each.
    pub findings: Vec<String>,
}

impl Verdict {
    /// Whether all is as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.lost == 0 && self.wrong == 0 && self.repeated == 0 && self.unexpected == 0
    }

    /// Adds what another part of a verification found.
    pub fn merge(&mut self, other: Self) {
        self.acked_found += other.acked_found;
        self.unacked_found += other.unacked_found;
        self.unacked_absent += other.unacked_absent;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.repeated += other.repeated;
        self.unexpected += other.unexpected;
        let room = FINDINGS_LISTED_MAX.saturating_sub(self.findings.len());
        self.findings.extend(other.findings.into_iter().take(room));
    }

    fn find(&mut self, what: impl FnOnce() -> String) {
        if self.findings.len() < FINDINGS_LISTED_MAX {
            self.findings.push(what());
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { acked_found, unacked_found, unacked_absent, lost, wrong, repeated, unexpected, findings } =
            self;
        let verdict = if self.is_good() { "nothing acked is lost, no value is wrong" } else { "FAILED" };
        writeln!(f, "verified: {verdict}")?;
        writeln!(
            f,
            "  {acked_found} acked samples found, {lost} lost, {wrong} wrong, {repeated} more than once"
        )?;
        writeln!(f, "  {unexpected} found that nobody sent")?;
        write!(f, "  of those never acked, {unacked_found} are there and {unacked_absent} are not")?;
        for finding in findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

/// Reads back every group and compares.
///
/// # Errors
/// When a query fails: then nothing is known.
pub async fn verify(client: &mut Client, groups: &[Group]) -> Result<Verdict, ApiError> {
    let samples = groups.iter().flat_map(|group| &group.series).map(|series| series.sent.len()).sum();
    let progress = Progress::new("samples read back", samples);
    let mut verdict = Verdict::default();
    for group in groups {
        for window in windows(group, VERIFY_SAMPLES_PER_QUERY) {
            let query = format!("{}[{}ms]", group.selector, window.end_ms - window.after_ms);
            let answer = client.query(&query, window.end_ms).await?;
            let found = check(group, window, &answer);
            progress.add((found.acked_found + found.unacked_found) as usize);
            verdict.merge(found);
        }
    }
    Ok(verdict)
}

/// A stretch of time, without its first and with its last millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    after_ms: i64,
    end_ms: i64,
}

impl Window {
    fn contains(&self, timestamp_ms: i64) -> bool {
        self.after_ms < timestamp_ms && timestamp_ms <= self.end_ms
    }
}

/// Cuts all that was sent into windows of at most `samples_max` samples, or of one instant.
fn windows(group: &Group, samples_max: usize) -> Vec<Window> {
    let mut timestamps: Vec<i64> =
        group.series.iter().flat_map(|series| &series.sent).map(|sent| sent.timestamp_ms).collect();
    timestamps.sort_unstable();
    let Some(&first) = timestamps.first() else { return Vec::new() };
    let mut windows = Vec::new();
    let mut window = Window { after_ms: first - 1, end_ms: first };
    let mut samples = 0;
    for instant in timestamps.chunk_by(|a, b| a == b) {
        if samples > 0 && samples + instant.len() > samples_max {
            windows.push(window);
            window.after_ms = window.end_ms;
            samples = 0;
        }
        window.end_ms = instant[0];
        samples += instant.len();
    }
    windows.push(window);
    windows
}

/// Compares what a query returned for one window with what was sent.
fn check(group: &Group, window: Window, answer: &[QueriedSeries]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut found: HashMap<&SeriesKey, Vec<(i64, f64)>> = HashMap::new();
    for series in answer {
        // Whether a range includes its first moment differs between servers.
        let inside = series.samples.iter().filter(|(timestamp_ms, _)| window.contains(*timestamp_ms));
        found.entry(&series.key).or_default().extend(inside);
    }
    for series in &group.series {
        let from = series.sent.partition_point(|sent| sent.timestamp_ms <= window.after_ms);
        let to = series.sent.partition_point(|sent| sent.timestamp_ms <= window.end_ms);
        check_series(
            &series.key,
            &series.sent[from..to],
            found.remove(&series.key).unwrap_or_default(),
            &mut verdict,
        );
    }
    for (key, samples) in found.into_iter().filter(|(_, samples)| !samples.is_empty()) {
        verdict.unexpected += samples.len() as u64;
        verdict.find(|| format!("unexpected: {} samples of {key}, which was never sent", samples.len()));
    }
    verdict
}

fn check_series(key: &SeriesKey, sent: &[Sent], mut found: Vec<(i64, f64)>, verdict: &mut Verdict) {
    found.sort_by_key(|(timestamp_ms, _)| *timestamp_ms);
    let mut found = found.chunk_by(|a, b| a.0 == b.0).peekable();
    let unexpected = |samples: &[(i64, f64)], verdict: &mut Verdict| {
        verdict.unexpected += samples.len() as u64;
        verdict.find(|| format!("unexpected: {} at {} of {key}", samples[0].1, samples[0].0));
    };
    for expected in sent {
        let at = expected.timestamp_ms;
        while let Some(samples) = found.next_if(|samples| samples[0].0 < at) {
            unexpected(samples, verdict);
        }
        let Some(samples) = found.next_if(|samples| samples[0].0 == at) else {
            if expected.acked {
                verdict.lost += 1;
                verdict.find(|| format!("lost: {} at {at} of {key}", expected.value));
            } else {
                verdict.unacked_absent += 1;
            }
            continue;
        };
        if samples.len() > 1 {
            verdict.repeated += 1;
            verdict.find(|| format!("more than once: {} times at {at} of {key}", samples.len()));
        }
        if let Some((_, wrong)) = samples.iter().find(|(_, value)| !is_same(*value, expected.value)) {
            verdict.wrong += 1;
            verdict.find(|| format!("wrong: {wrong} instead of {} at {at} of {key}", expected.value));
        } else if expected.acked {
            verdict.acked_found += 1;
        } else {
            verdict.unacked_found += 1;
        }
    }
    for samples in found {
        unexpected(samples, verdict);
    }
}

fn is_same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::EncodedLabels;

    fn key(pod: &str) -> SeriesKey {
        SeriesKey::from(&EncodedLabels::new([("pod", pod)]))
    }

    fn acked(timestamp_ms: i64) -> Sent {
        Sent { timestamp_ms, value: timestamp_ms as f64, acked: true }
    }

    fn unacked(timestamp_ms: i64) -> Sent {
        Sent { acked: false, ..acked(timestamp_ms) }
    }

    fn group(sent: &[Sent]) -> Group {
        Group {
            selector: "x".to_owned(),
            series: vec![ExpectedSeries { key: key("a"), sent: sent.to_vec() }],
        }
    }

    /// The verdict on `sent` when the server returns `found`, without the findings.
    fn verdict(sent: &[Sent], found: &[(i64, f64)]) -> Verdict {
        let answer = [QueriedSeries { key: key("a"), samples: found.to_vec() }];
        let window = Window { after_ms: 0, end_ms: 100 };
        let verdict = check(&group(sent), window, &answer);
        assert_eq!(verdict.is_good(), verdict.findings.is_empty());
        Verdict { findings: Vec::new(), ..verdict }
    }

    #[test]
    fn all_there_is_good() {
        let expected = Verdict { acked_found: 2, ..Verdict::default() };
        assert_eq!(verdict(&[acked(1), acked(2)], &[(1, 1.0), (2, 2.0)]), expected);
    }

    #[test]
    fn an_acked_sample_that_is_not_there_is_lost() {
        let expected = Verdict { acked_found: 2, lost: 1, ..Verdict::default() };
        for lost in [1, 2, 3] {
            let found: Vec<_> = [1, 2, 3].into_iter().filter(|t| *t != lost).map(|t| (t, t as f64)).collect();
            assert_eq!(verdict(&[acked(1), acked(2), acked(3)], &found), expected);
        }
        assert_eq!(verdict(&[acked(1)], &[]), Verdict { lost: 1, ..Verdict::default() });
        let nothing = check(&group(&[acked(1)]), Window { after_ms: 0, end_ms: 9 }, &[]);
        assert_eq!((nothing.lost, nothing.is_good()), (1, false), "a series that is missing altogether");
    }

    #[test]
    fn an_unacked_sample_may_be_there_or_not_but_only_with_its_value() {
        let expected = Verdict { unacked_found: 1, unacked_absent: 1, ..Verdict::default() };
        assert_eq!(verdict(&[unacked(1), unacked(2)], &[(2, 2.0)]), expected);
        assert_eq!(verdict(&[unacked(1)], &[(1, 7.0)]), Verdict { wrong: 1, ..Verdict::default() });
    }

    #[test]
    fn wrong_repeated_and_unexpected_samples_are_seen() {
        assert_eq!(verdict(&[acked(1)], &[(1, 1.5)]), Verdict { wrong: 1, ..Verdict::default() });
        let repeated = Verdict { acked_found: 1, repeated: 1, ..Verdict::default() };
        assert_eq!(verdict(&[acked(1)], &[(1, 1.0), (1, 1.0)]), repeated);
        let unexpected = Verdict { acked_found: 1, unexpected: 2, ..Verdict::default() };
        assert_eq!(verdict(&[acked(5)], &[(4, 1.0), (5, 5.0), (6, 1.0)]), unexpected);
        let other = [QueriedSeries { key: key("b"), samples: vec![(1, 1.0)] }];
        let other = check(&group(&[acked(1)]), Window { after_ms: 0, end_ms: 9 }, &other);
        assert_eq!((other.lost, other.unexpected), (1, 1));
    }

    #[test]
    fn only_what_is_inside_the_window_counts() {
        let sent = [acked(0), acked(50), acked(101)];
        let expected = Verdict { acked_found: 1, ..Verdict::default() };
        assert_eq!(verdict(&sent, &[(0, 9.0), (50, 50.0), (101, 9.0)]), expected);
    }

    #[test]
    fn values_are_compared_as_numbers() {
        let nan = Sent { value: f64::NAN, ..acked(1) };
        assert_eq!(verdict(&[nan], &[(1, f64::NAN)]).acked_found, 1);
        let zero = Sent { value: 0.0, ..acked(1) };
        assert_eq!(verdict(&[zero], &[(1, -0.0)]).acked_found, 1);
        assert_eq!(verdict(&[zero], &[(1, 5e-324)]).wrong, 1);
    }

    #[test]
    fn windows_cover_each_sample_once_and_are_bounded() {
        let sent: Vec<_> = [5, 6, 7, 20, 21, 40].map(acked).to_vec();
        let of = |samples_max| windows(&group(&sent), samples_max);
        let window = |after_ms, end_ms| Window { after_ms, end_ms };
        assert_eq!(of(100), [window(4, 40)]);
        assert_eq!(of(3), [window(4, 7), window(7, 40)]);
        assert_eq!(of(1).len(), 6);
        for samples_max in 1..7 {
            for sent in &sent {
                let containing = of(samples_max).iter().filter(|w| w.contains(sent.timestamp_ms)).count();
                assert_eq!(containing, 1);
            }
        }
        assert_eq!(windows(&group(&[]), 1), []);
        let mut two = group(&[acked(1)]);
        two.series.push(ExpectedSeries { key: key("b"), sent: vec![acked(1)] });
        assert_eq!(windows(&two, 1), [window(0, 1)], "an instant is never cut");
    }

    #[test]
    fn the_list_of_findings_is_bounded_but_all_are_counted() {
        let sent: Vec<_> = (1..=90).map(acked).collect();
        let verdict = check(&group(&sent), Window { after_ms: 0, end_ms: 100 }, &[]);
        assert_eq!((verdict.lost, verdict.findings.len()), (90, FINDINGS_LISTED_MAX));
        assert!(verdict.findings[0].contains("lost: 1 at 1 of {pod=\"a\"}"), "{}", verdict.findings[0]);
        let mut merged = verdict.clone();
        merged.merge(verdict);
        assert_eq!((merged.lost, merged.findings.len()), (180, FINDINGS_LISTED_MAX));
    }
}
