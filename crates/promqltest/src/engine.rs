//! What is under test.

use promql::{SeriesSamples, Window};
use telemetry::Labels;

use crate::Answer;

/// A store and the PromQL engine above it. It must have experimental functions and delayed name removal switched on, look back
/// 5 minutes and take 1 minute for the step of subqueries, as Prometheus's own test engine does.
pub trait Engine {
    /// Forgets all series.
    fn clear(&mut self);

    /// Adds samples. A label set may occur several times; where two samples share a timestamp, the later one holds.
    ///
    /// # Errors
    /// Why samples were not taken. Those that could be taken are.
    fn load(&mut self, series: &[(Labels, SeriesSamples)]) -> Result<(), String>;

    /// Answers a query.
    ///
    /// # Errors
    /// The text of the error, as Prometheus's engine has it.
    fn query(&mut self, expr: &str, window: Window) -> Result<Answer, String>;
}
