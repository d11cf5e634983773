//! The table of queries.

use serde::Serialize;

use super::answer::Size;
use crate::commands::write::megabytes;
use crate::stats::LatencySummary;
use crate::table::Table;

/// All that was measured of one shape.
#[derive(Debug, Serialize)]
pub struct ShapeReport {
    /// What the shape is called.
    pub name: &'static str,
    /// What was asked.
    pub query: String,
    /// By server; Farwatch first, if it was there.
    pub answers: Vec<ServerAnswer>,
    /// Samples that Farwatch read, by its own count.
    pub samples_read: Option<u64>,
    /// Where answers differ that must not.
    pub differences: Vec<String>,
}

/// One server's part of it.
#[derive(Debug, Serialize)]
pub struct ServerAnswer {
    /// Which one.
    pub name: &'static str,
    /// From sending the request to the end of the answer.
    pub latency: LatencySummary,
    /// Most resident memory while it was asked, all that it holds anyway included.
    pub peak_rss_bytes: u64,
    /// How much the answer is.
    pub size: Size,
    /// Why there is none.
    pub error: Option<String>,
}

const FARWATCH: &str = "farwatch";

impl ShapeReport {
    /// Farwatch's median by the fastest other server's. `None` where one of them is missing.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let p50 = |answer: &ServerAnswer| answer.error.is_none().then_some(answer.latency.p50_ms);
        let own = self.answers.iter().find(|answer| answer.name == FARWATCH).and_then(p50)?;
        let others = self.answers.iter().filter(|answer| answer.name != FARWATCH).filter_map(p50);
        Some(own / others.min_by(f64::total_cmp)?)
    }

    /// Whether another server is faster.
    #[must_use]
    pub fn is_slower(&self) -> bool {
        self.ratio().is_some_and(|ratio| ratio > 1.0)
    }

    /// Whether answers agree, and Farwatch has one.
    #[must_use]
    pub fn is_right(&self) -> bool {
        let failed = |answer: &ServerAnswer| answer.name == FARWATCH && answer.error.is_some();
        self.differences.is_empty() && !self.answers.iter().any(failed)
    }
}

/// The table, and what is to be said below it.
#[must_use]
pub fn table(reports: &[ShapeReport]) -> String {
    let names: Vec<&str> = reports
        .first()
        .map_or_else(Vec::new, |report| report.answers.iter().map(|answer| answer.name).collect());
    let mut heading = vec!["p50 / p99, ms".to_owned()];
    heading.extend(names.iter().map(|&name| name.to_owned()));
    heading.extend(["ratio", "samples read", "series × points"].map(str::to_owned));
    heading.push("peak RSS, MB".to_owned());
    let mut table = Table::new(heading);
    for report in reports {
        let mut cells: Vec<String> = report.answers.iter().map(latency).collect();
        cells.push(match report.ratio() {
            Some(ratio) if ratio > 1.0 => format!("**{ratio:.2}**"),
            Some(ratio) => format!("{ratio:.2}"),
            None => String::new(),
        });
        cells.push(report.samples_read.map_or_else(String::new, |samples| samples.to_string()));
        cells.push(report.answers.first().map_or_else(String::new, |answer| {
            let Size { series, points, .. } = answer.size;
            if points == 0 {
                series.to_string()
            } else {
                format!("{series} × {}", points.div_ceil(series.max(1)))
            }
        }));
        let peaks: Vec<String> =
            report.answers.iter().map(|answer| megabytes(answer.peak_rss_bytes)).collect();
        cells.push(peaks.join(" / "));
        table.row(report.name, cells);
    }
    let mut text = table.to_string();
    let slower: Vec<&str> =
        reports.iter().filter(|report| report.is_slower()).map(|report| report.name).collect();
    if !slower.is_empty() {
        text.push_str(&format!("\nslower than another: {}\n", slower.join(", ")));
    }
    for report in reports {
        for difference in &report.differences {
            text.push_str(&format!("\nDIFFERENT: {} ({}): {difference}\n", report.name, report.query));
        }
        for answer in &report.answers {
            if let Some(error) = &answer.error {
                text.push_str(&format!("\n{} has no answer to {}: {error}\n", answer.name, report.name));
            }
        }
    }
    text
}

fn latency(answer: &ServerAnswer) -> String {
    if answer.error.is_some() {
        return "no answer".to_owned();
    }
    let digits = |ms: f64| if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.0}") };
    format!("{} / {}", digits(answer.latency.p50_ms), digits(answer.latency.p99_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &'static str, p50_ms: f64, error: Option<&str>) -> ServerAnswer {
        ServerAnswer {
            name,
            latency: LatencySummary { p50_ms, ..LatencySummary::default() },
            peak_rss_bytes: 0,
            size: Size::default(),
            error: error.map(str::to_owned),
        }
    }

    fn report(answers: Vec<ServerAnswer>) -> ShapeReport {
        ShapeReport { name: "x", query: String::new(), answers, samples_read: None, differences: Vec::new() }
    }

    #[test]
    fn the_ratio_is_to_the_faster_one_that_answers() {
        let own = || answer(FARWATCH, 3.0, None);
        let faster = report(vec![own(), answer("a", 4.0, None), answer("b", 6.0, None)]);
        assert_eq!(faster.ratio(), Some(0.75));
        assert!(!faster.is_slower() && faster.is_right());
        let slower = report(vec![own(), answer("a", 2.0, None), answer("b", 1.0, Some("no"))]);
        assert_eq!(slower.ratio(), Some(1.5));
        assert!(slower.is_slower() && table(&[slower]).contains("**1.50**"));
        assert_eq!(report(vec![own()]).ratio(), None);
        assert!(!report(vec![answer(FARWATCH, 0.0, Some("no"))]).is_right());
    }
}
