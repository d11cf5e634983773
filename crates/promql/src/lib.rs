//! PromQL as of Prometheus 3.5: parsing, and streaming evaluation over a [`SeriesSource`]. No I/O, no clock.
//!
//! ```text
//! text ── parse ──► Expr ── plan(window) ──► Plan ── evaluate(source) ──► QueryOutput
//!                                             └─ selections(): what to fetch beforehand
//! ```

pub mod ast;
mod ast_json;
mod error;
mod eval;
pub mod functions;
mod histogram;
mod lexer;
pub mod limits;
pub mod matcher;
mod number;
mod output;
mod parser;
mod plan;
mod printer;
mod source;
mod stack;

pub use ast::Expr;
pub use error::{EvalError, ParseError, PlanError};
pub use histogram::{Bucket, all_buckets};
pub use limits::{LimitExceeded, Limits};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use output::{
    Annotation, MatrixSeries, QueryOutput, QueryStats, Sample, ScalarSample, Value, VectorSample,
};
pub use plan::{EvalOptions, Plan, Window, plan};
pub use source::{Reading, SelectedSeries, Selection, SeriesSamples, SeriesSource, SourceError};

/// Parses a query. Experimental functions are parsed, too; [`plan()`] refuses them unless they are switched on.
///
/// # Errors
/// [`ParseError`] in Prometheus's wording, with its position.
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    parser::parse(query)
}

/// Parses a series selector such as `up{job="a"}`, as the `match[]` parameters of Prometheus's HTTP API hold it.
///
/// # Errors
/// [`ParseError`], also for a selector that would select every series.
pub fn parse_matchers(selector: &str) -> Result<Vec<Matcher>, ParseError> {
    parser::parse_matchers(selector)
}

/// The query's tree as JSON, in the form of Prometheus's `/api/v1/parse_query`, for editors.
///
/// # Errors
/// [`ParseError`] as [`parse`].
pub fn parse_query_json(query: &str) -> Result<serde_json::Value, ParseError> {
    parse(query).map(|expr| ast_json::node(expr.root()))
}

/// Milliseconds of a duration as PromQL writes it (`1h30m`, `0`).
///
/// # Errors
/// Prometheus's text, which names the duration.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    parser::parse_duration_ms(text)
}

/// The query in its canonical form, over several lines where it is long.
///
/// # Errors
/// [`ParseError`] as [`parse`].
pub fn format_query(query: &str) -> Result<String, ParseError> {
    parse(query).map(|expr| printer::pretty(expr.root()))
}

/// Evaluates a plan over the series of `source`.
///
/// Runs on the calling thread and, with [`EvalOptions::threads`] above 1, on helpers that end before it returns.
///
/// # Errors
/// [`EvalError`] says what the caller can do.
pub fn evaluate(
    plan: &Plan,
    source: &dyn SeriesSource,
    options: &EvalOptions<'_>,
) -> Result<QueryOutput, EvalError> {
    stack::with_room(plan.depth, || eval::evaluate(plan, source, options)).unwrap_or_else(|_| {
        Err(EvalError::Execution("there is no thread for so deep an expression now".to_owned()))
    })
}

/// A text as a double-quoted PromQL string.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if u32::from(control) < 0x20 || control == '\u{7f}' => {
                out.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
