//! The language of the scripts: `load`, `eval`, `clear`.

use std::sync::Arc;

use promql::SeriesSamples;
use regex::Regex;
use telemetry::Labels;

use crate::custom_buckets;
use crate::notation::{self, SequenceValue};

pub(crate) enum Command {
    Clear,
    Load { line: usize, series: Vec<(Labels, SeriesSamples)> },
    Eval(Box<Eval>),
}

/// A query and what it should answer.
pub(crate) struct Eval {
    /// Line in the file, from 1.
    pub(crate) line: usize,
    pub(crate) expr: String,
    pub(crate) window: EvalWindow,
    pub(crate) ordered: bool,
    pub(crate) fail: bool,
    /// A text or a pattern for the error.
    pub(crate) failure: Option<Expected>,
    pub(crate) warn: bool,
    pub(crate) info: bool,
    pub(crate) no_warn: bool,
    pub(crate) no_info: bool,
    pub(crate) warnings: Vec<Expected>,
    pub(crate) infos: Vec<Expected>,
    pub(crate) result: ExpectedResult,
    /// The result is a range vector over this window.
    pub(crate) range_vector: Option<(i64, i64, i64)>,
}

pub(crate) enum EvalWindow {
    Instant { at_ms: i64 },
    Range { start_ms: i64, end_ms: i64, step_ms: i64 },
}

pub(crate) enum Expected {
    Text(String),
    Pattern(Regex),
}

impl Expected {
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Text(expected) => expected == text,
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Pattern(pattern) => f.write_str(pattern.as_str()),
        }
    }
}

pub(crate) enum ExpectedResult {
    Scalar(f64),
    String(String),
    Series(Vec<(Labels, Vec<SequenceValue>)>),
}

pub(crate) fn parse(text: &str) -> Result<Vec<Command>, String> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let number = at + 1;
        at += 1;
        if line.is_empty() {
            continue;
        }
        let mut block = Vec::new();
        let word = line.split_whitespace().next().unwrap_or("").to_lowercase();
        if word != "clear" {
            while at < lines.len() && !lines[at].is_empty() {
                block.push(lines[at]);
                at += 1;
            }
        }
        let located = |error: String| format!("line {number}: {error}");
        commands.push(match word.as_str() {
            "clear" => Command::Clear,
            "load" | "load_with_nhcb" => {
                let step = line[word.len()..].trim();
                let step_ms = promql::parse_duration_ms(step).map_err(located)?;
                let samples =
                    |line| notation::series(line).map(|(labels, values)| (labels, at_steps(values, step_ms)));
                let mut series: Vec<_> =
                    block.into_iter().map(samples).collect::<Result<_, _>>().map_err(located)?;
                if word.ends_with("nhcb") {
                    series.extend(custom_buckets::converted(&series));
                }
                Command::Load { line: number, series }
            }
            _ if word.starts_with("eval") => {
                Command::Eval(Box::new(parse_eval(line, number, &block).map_err(located)?))
            }
            _ => return Err(located(format!("an unknown command: {line}"))),
        });
    }
    Ok(commands)
}

/// The values as samples, from time 0.
fn at_steps(values: Vec<SequenceValue>, step_ms: i64) -> SeriesSamples {
    let mut samples = SeriesSamples::default();
    for (index, value) in values.into_iter().enumerate() {
        let at_ms = step_ms * index as i64;
        match value {
            SequenceValue::Omitted => {}
            SequenceValue::Float(value) => {
                samples.timestamps_ms.push(at_ms);
                samples.values.push(value);
            }
            SequenceValue::Histogram { histogram, .. } => {
                samples.histograms.push((at_ms, Arc::new(histogram)))
            }
        }
    }
    samples
}

fn parse_eval(line: &str, number: usize, block: &[&str]) -> Result<Eval, String> {
    let instant =
        Regex::new(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$").unwrap();
    let range =
        Regex::new(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$")
            .unwrap();
    let duration = promql::parse_duration_ms;
    let (modifier, window, expr) = if let Some(parts) = instant.captures(line) {
        let at_ms = duration(parts.get(2).map_or("0", |at| at.as_str()))?;
        (parts.get(1).map(|m| m.as_str().to_owned()), EvalWindow::Instant { at_ms }, parts[3].to_owned())
    } else if let Some(parts) = range.captures(line) {
        let window = EvalWindow::Range {
            start_ms: duration(&parts[2])?,
            end_ms: duration(&parts[3])?,
            step_ms: duration(&parts[4])?,
        };
        (parts.get(1).map(|m| m.as_str().to_owned()), window, parts[5].to_owned())
    } else {
        return Err(format!("not an evaluation: {line}"));
    };
    let is = |word: &str| modifier.as_deref() == Some(word);
    let mut eval = Eval {
        line: number,
        expr,
        window,
        ordered: is("ordered"),
        fail: is("fail"),
        failure: None,
        warn: is("warn"),
        info: is("info"),
        no_warn: false,
        no_info: false,
        warnings: Vec::new(),
        infos: Vec::new(),
        result: ExpectedResult::Series(Vec::new()),
        range_vector: None,
    };
    for line in block {
        expectation(line, &mut eval)?;
    }
    Ok(eval)
}

fn expectation(line: &str, eval: &mut Eval) -> Result<(), String> {
    if let Some(text) = line.strip_prefix("expected_fail_message") {
        eval.failure = Some(Expected::Text(text.trim().to_owned()));
    } else if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
        eval.failure =
            Some(Expected::Pattern(Regex::new(pattern.trim()).map_err(|error| error.to_string())?));
    } else if let Some(text) = line.strip_prefix("expect string ") {
        let text = text.trim();
        let parsed = promql::parse(text).map_err(|error| error.to_string())?;
        if let promql::ast::NodeKind::String(text) = &parsed.root().kind {
            eval.result = ExpectedResult::String(text.to_text());
        }
    } else if let Some(rest) = line.strip_prefix("expect range vector") {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [_, from, _, to, _, step] = words.as_slice() else {
            return Err(format!("not a range vector: {line}"));
        };
        let duration = promql::parse_duration_ms;
        eval.range_vector = Some((duration(from)?, duration(to)?, duration(step)?));
    } else if line.split(' ').next() == Some("expect") {
        let pattern =
            Regex::new(r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$")
                .unwrap();
        let parts = pattern.captures(line).ok_or_else(|| format!("not an expectation: {line}"))?;
        let text = parts.get(3).map_or("", |text| text.as_str()).trim();
        let expected = match parts.get(2).map(|kind| kind.as_str()) {
            Some("msg") => Expected::Text(text.to_owned()),
            Some(_) => Expected::Pattern(Regex::new(text).map_err(|error| error.to_string())?),
            None => Expected::Pattern(Regex::new("").unwrap()),
        };
        match &parts[1] {
            "ordered" => eval.ordered = true,
            "fail" => {
                eval.fail = true;
                eval.failure = Some(expected);
            }
            "warn" => eval.warnings.push(expected),
            "info" => eval.infos.push(expected),
            "no_warn" => eval.no_warn = true,
            _ => eval.no_info = true,
        }
    } else if let Some(value) = plain_number(line) {
        eval.result = ExpectedResult::Scalar(value);
    } else {
        let (labels, values) = notation::series(line)?;
        if let ExpectedResult::Series(series) = &mut eval.result {
            series.push((labels, values));
        }
    }
    Ok(())
}

fn plain_number(line: &str) -> Option<f64> {
    line.parse().ok()
}
