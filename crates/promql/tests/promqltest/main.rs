//! Prometheus's own test scripts (see the `promqltest` crate), over series in memory.

#![allow(clippy::unwrap_used, reason = "a test without libtest's harness is a test all the same")]

mod store;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use promql::{EvalOptions, SeriesSamples, Window};
use promqltest::{Answer, Engine};
use store::Store;
use telemetry::Labels;

/// The settings of Prometheus's own test engine.
fn options() -> EvalOptions<'static> {
    EvalOptions {
        experimental: true,
        delayed_name_removal: true,
        default_subquery_step_ms: 60_000,
        threads: NonZeroUsize::new(2).unwrap(),
        ..EvalOptions::default()
    }
}

impl Engine for Store {
    fn clear(&mut self) {
        *self = Self::default();
    }

    fn load(&mut self, series: &[(Labels, SeriesSamples)]) -> Result<(), String> {
        series.iter().for_each(|(labels, samples)| self.insert(labels, samples));
        Ok(())
    }

    fn query(&mut self, expr: &str, window: Window) -> Result<Answer, String> {
        let expr = promql::parse(expr).map_err(|error| error.to_string())?;
        let plan = promql::plan(&expr, window, &options()).map_err(|error| error.to_string())?;
        let output = promql::evaluate(&plan, self, &options()).map_err(|error| error.to_string())?;
        Ok(output.into())
    }
}

fn main() -> ExitCode {
    promqltest::main(include_str!("known_failures.txt"), Store::default)
}
