//! What a drill found, for people and programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats::LatencySummary;
use crate::table::Table;
use crate::verify::Verdict;

/// What a drill found.
#[derive(Debug, Serialize)]
pub struct DrillReport {
    /// Its name.
    pub drill: String,
    /// How often the fault was made.
    pub rounds: u32,
    /// How long there was load.
    pub seconds: f64,
    /// Requests of writers.
    pub requests: usize,
    /// Those of them that were acked in the end.
    pub requests_acked: usize,
    /// Requests that were sent again after an error.
    pub requests_resent: u64,
    /// Errors that writers saw, by kind.
    pub write_errors: BTreeMap<String, u64>,
    /// Queries that readers made beside the load and that were answered; each answer was checked.
    pub queries: u64,
    /// Errors that readers saw, by kind.
    pub query_errors: BTreeMap<String, u64>,
    /// The longest time without an ack to anybody.
    pub longest_without_ack_ms: f64,
    /// From the end of a fault to the next ack.
    pub recovery: LatencySummary,
    /// From the start of a process until it was ready.
    pub ready: LatencySummary,
    /// What else was counted.
    pub figures: BTreeMap<&'static str, u64>,
    /// What the ledger says after compaction.
    pub ledger_samples: u64,
    /// Objects that are needed after compaction. If there are others, that is a finding.
    pub objects: u64,
    /// What was found when everything was read back for the last time: after compaction and a restart.
    pub verdict: Verdict,
    /// All that is wrong.
    pub findings: Vec<String>,
}

impl DrillReport {
    /// Whether all is as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.is_empty() && self.verdict.is_good() && self.requests_acked > 0
    }
}

impl std::fmt::Display for DrillReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new([format!("drill: {}", self.drill), String::new()]);
        let whole_ms = |ms: f64| format!("{ms:.0}");
        let two_ms = |of: &LatencySummary| format!("{:.0} / {:.0}", of.p50_ms, of.max_ms);
        table.row("faults", [self.rounds.to_string()]);
        table.row("under load, s", [whole_ms(self.seconds)]);
        table.row(
            "requests / acked / sent again",
            [format!("{} / {} / {}", self.requests, self.requests_acked, self.requests_resent)],
        );
        table.row("errors that writers saw", [kinds(&self.write_errors)]);
        table.row("answers checked under load", [self.queries.to_string()]);
        table.row("errors that readers saw", [kinds(&self.query_errors)]);
        table.row("longest without an ack, ms", [whole_ms(self.longest_without_ack_ms)]);
        table.row("end of fault to ack p50 / max, ms", [two_ms(&self.recovery)]);
        table.row("start to ready p50 / max, ms", [two_ms(&self.ready)]);
        for (what, count) in &self.figures {
            table.row(*what, [count.to_string()]);
        }
        table.row("acked samples", [self.verdict.acked_found.to_string()]);
        let Verdict { lost, wrong, repeated, unexpected, .. } = self.verdict;
        table.row(
            "lost / wrong / twice / never sent",
            [format!("{lost} / {wrong} / {repeated} / {unexpected}")],
        );
        table.row("samples in the ledger", [self.ledger_samples.to_string()]);
        table.row("objects needed at rest", [self.objects.to_string()]);
        write!(f, "{table}\n{}", self.verdict)?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

fn kinds(errors: &BTreeMap<String, u64>) -> String {
    let kinds: Vec<String> = errors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
}
