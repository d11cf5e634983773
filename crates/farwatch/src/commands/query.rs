//! `farwatch query`: asks a server and shows the answer in the terminal.

mod answer;
mod sparkline;
mod table;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use segment_store::Clock;

use super::DEFAULT_URL;
use crate::cli::QueryArgs;
use crate::config::value::{ServerUrl, SettingValue as _};
use answer::{Answer, Envelope};

/// How long to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(150);

/// Why a query gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A time that is neither.
    #[error("{0:?} is no time; write RFC 3339 (2026-01-31T12:00:00Z) or Unix seconds (1769860800.5)")]
    Time(String),
    /// The server's address is none.
    #[error("--url is {text:?}; it must be {expected}")]
    Url {
        /// What was given.
        text: String,
        /// What it must be.
        expected: String,
    },
    /// The key's file cannot be read.
    #[error("cannot read the API key in {}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The request did not get through.
    #[error("cannot reach {url}; is `farwatch serve` running there?")]
    Unreachable {
        /// The server.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server refused.
    #[error("{status}: {message}{hint}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The server's reason.
        message: String,
        /// What to do about it; may be empty.
        hint: &'static str,
    },
    /// What answered is not Prometheus's HTTP API.
    #[error("the answer is not Prometheus's JSON; is {url} the right address?")]
    NotJson {
        /// The server.
        url: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The terminal went away.
    #[error("cannot print the answer")]
    Print(#[from] std::io::Error),
}

/// When to ask for.
#[derive(Debug, PartialEq)]
enum When {
    /// Now.
    Now,
    /// At a time, as the server reads it.
    At(String),
    /// Over a range, all in seconds.
    Over { start: f64, end: f64, step: f64 },
}

/// Asks and prints to `out`. `columns` is the terminal's width.
///
/// # Errors
/// [`QueryError`], which says what to do.
pub async fn run(
    args: &QueryArgs,
    clock: &dyn Clock,
    columns: usize,
    out: &mut dyn Write,
) -> Result<(), QueryError> {
    let given = args.url.as_deref().unwrap_or(DEFAULT_URL);
    let server =
        ServerUrl::parse(given).map_err(|expected| QueryError::Url { text: given.to_owned(), expected })?;
    let key = key(args)?;
    let when = when(args, clock.now_ms(), columns)?;
    let mut form = vec![("query", args.promql.clone())];
    let path = match &when {
        When::Now => "query",
        When::At(time) => {
            form.push(("time", time.clone()));
            "query"
        }
        When::Over { start, end, step } => {
            form.extend(
                [("start", start), ("end", end), ("step", step)].map(|(name, at)| (name, at.to_string())),
            );
            "query_range"
        }
    };
    let url = format!("{}/api/v1/{path}", server.as_str().trim_end_matches('/'));
    let body = ask(&url, key.as_deref(), &form).await?;
    if args.json {
        writeln!(out, "{}", body.trim_end())?;
        return Ok(());
    }
    let envelope: Envelope = serde_json::from_str(&body)
        .map_err(|source| QueryError::NotJson { url: given.to_owned(), source })?;
    show(&envelope, columns, out)?;
    Ok(())
}

fn show(envelope: &Envelope, columns: usize, out: &mut dyn Write) -> std::io::Result<()> {
    match &envelope.data {
        Answer::Vector(rows) if rows.is_empty() => writeln!(out, "no series match")?,
        Answer::Matrix(rows) if rows.is_empty() => writeln!(out, "no series match")?,
        Answer::Vector(rows) => table::vector(rows, out)?,
        Answer::Matrix(rows) => sparkline::matrix(rows, columns, out)?,
        Answer::Scalar((_, value)) | Answer::String((_, value)) => writeln!(out, "{value}")?,
    }
    for warning in &envelope.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for info in &envelope.infos {
        writeln!(out, "note: {info}")?;
    }
    Ok(())
}

async fn ask(url: &str, key: Option<&str>, form: &[(&str, String)]) -> Result<String, QueryError> {
    let unreachable = |source| QueryError::Unreachable { url: url.to_owned(), source };
    // A second call finds a provider installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(unreachable)?;
    let mut request = client.post(url).form(form);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let body = response.text().await.map_err(unreachable)?;
    if status.is_success() {
        return Ok(body);
    }
    let message = serde_json::from_str::<answer::Failure>(&body).map_or(body, |failure| failure.error);
    let hint = if status == reqwest::StatusCode::UNAUTHORIZED {
        "; give an API key with --key, --key-file or FARWATCH_KEY"
    } else {
        ""
    };
    Err(QueryError::Refused { status: status.as_u16(), message: message.trim().to_owned(), hint })
}

fn key(args: &QueryArgs) -> Result<Option<String>, QueryError> {
    if let Some(key) = &args.key {
        return Ok(Some(key.clone()));
    }
    let Some(path) = &args.key_file else { return Ok(None) };
    let text =
        std::fs::read_to_string(path).map_err(|source| QueryError::KeyFile { path: path.clone(), source })?;
    Ok(Some(text.trim().to_owned()))
}

fn when(args: &QueryArgs, now_ms: i64, columns: usize) -> Result<When, QueryError> {
    if args.range.is_none() && args.start.is_none() {
        return Ok(args.end.clone().map_or(When::Now, When::At));
    }
    let end = match &args.end {
        Some(text) => seconds(text)?,
        None => now_ms as f64 / 1_000.0,
    };
    let start = match (&args.start, args.range) {
        (Some(text), _) => seconds(text)?,
        (None, range) => end - range.unwrap_or_default().as_secs_f64(),
    };
    let step = match args.step {
        Some(step) => step.as_secs_f64(),
        None => ((end - start) / sparkline::points(columns) as f64).ceil().max(1.0),
    };
    Ok(When::Over { start, end, step })
}

/// A time as a user writes it, in seconds since the Unix epoch.
pub(super) fn seconds(text: &str) -> Result<f64, QueryError> {
    if let Ok(seconds) = text.parse::<f64>()
        && seconds.is_finite()
    {
        return Ok(seconds);
    }
    let timestamp: jiff::Timestamp = text.parse().map_err(|_| QueryError::Time(text.to_owned()))?;
    Ok(timestamp.as_millisecond() as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(more: &[&str]) -> QueryArgs {
        let words = ["farwatch", "query", "up"].iter().chain(more);
        let Command::Query(args) = Cli::try_parse_from(words).unwrap().command else { panic!("not query") };
        args
    }

    #[test]
    fn asks_for_now_a_time_or_a_range() {
        let of = |more: &[&str]| when(&args(more), 1_000_000, 100).unwrap();
        assert_eq!(of(&[]), When::Now);
        assert_eq!(of(&["--end", "12"]), When::At("12".to_owned()));
        assert_eq!(
            of(&["--range", "5m", "--step", "15s"]),
            When::Over { start: 700.0, end: 1_000.0, step: 15.0 }
        );
        assert_eq!(
            of(&["--start", "1970-01-01T00:01:00Z", "--end", "90", "--step", "1s"]),
            When::Over { start: 60.0, end: 90.0, step: 1.0 }
        );
    }

    #[test]
    fn refuses_what_is_no_time() {
        let message = when(&args(&["--start", "yesterday"]), 0, 100).unwrap_err().to_string();
        assert!(message.contains("RFC 3339"), "{message}");
    }

    #[test]
    fn shows_every_kind_of_answer() {
        let shown = |data: &str| {
            let envelope: Envelope = serde_json::from_str(data).unwrap();
            let mut out = Vec::new();
            show(&envelope, 100, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(r#"{"data":{"resultType":"scalar","result":[1,"2.5"]}}"#), "2.5\n");
        assert_eq!(
            shown(r#"{"data":{"resultType":"vector","result":[]},"infos":["i"]}"#),
            "no series match\nnote: i\n"
        );
        let vector = r#"{"data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","job":"node"},"value":[1,"1"]}]}}"#;
        assert_eq!(shown(vector), "SERIES          VALUE\nup{job=\"node\"}  1\n");
    }
}
