//! Prometheus's text format, written.

use std::fmt::Write as _;

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up, but for restarts.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// Writes families to a page, each family's samples one after the other, as the format wants it.
///
/// Writing to a string does not fail, so results are let go.
#[derive(Debug)]
pub struct Exposition<'a> {
    page: &'a mut String,
}

impl<'a> Exposition<'a> {
    /// Writes at the end of `page`.
    pub fn new(page: &'a mut String) -> Self {
        Self { page }
    }

    /// A family that is one sample without labels.
    pub fn single(&mut self, kind: Kind, name: &str, help: &str, number: f64) {
        self.head(kind.as_str(), name, help);
        let _ = writeln!(self.page, "{name} {number}");
    }

    /// A family with one sample for each (label value, number); `label` names the label. Label values are of this
    /// program's own making: names of enums, never what a client sent.
    pub fn family<'v>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'v str, f64)>,
    ) {
        self.head(kind.as_str(), name, help);
        for (value, number) in samples {
            let _ = writeln!(self.page, "{name}{{{label}=\"{value}\"}} {number}");
        }
    }

    /// A histogram. `counts` are those of the buckets by themselves; one more than there are `bounds`.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        bounds: impl Iterator<Item = f64>,
        counts: &[u64],
        sum: f64,
    ) {
        self.head("histogram", name, help);
        let mut total = 0;
        for (bound, count) in bounds.chain([f64::INFINITY]).zip(counts) {
            total += count;
            let le = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            let _ = writeln!(self.page, "{name}_bucket{{le=\"{le}\"}} {total}");
        }
        let _ = writeln!(self.page, "{name}_sum {sum}\n{name}_count {total}");
    }

    fn head(&mut self, kind: &str, name: &str, help: &str) {
        let _ = writeln!(self.page, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_text_format() {
        let mut text = String::new();
        let mut page = Exposition::new(&mut text);
        page.single(Kind::Gauge, "a_bytes", "Bytes of a.", 1.5);
        page.family(Kind::Counter, "b_total", "All b.", "kind", [("x", 1.0), ("y", 2e20)]);
        page.histogram("c_seconds", "Times.", [0.1, 1.0].into_iter(), &[2, 0, 1], 2.5);
        let expected = r#"# HELP a_bytes Bytes of a.
# TYPE a_bytes gauge
a_bytes 1.5
# HELP b_total All b.
# TYPE b_total counter
b_total{kind="x"} 1
b_total{kind="y"} 200000000000000000000
# HELP c_seconds Times.
# TYPE c_seconds histogram
c_seconds_bucket{le="0.1"} 2
c_seconds_bucket{le="1"} 2
c_seconds_bucket{le="+Inf"} 3
c_seconds_sum 2.5
c_seconds_count 3
"#;
        assert_eq!(text, expected);
    }
}
