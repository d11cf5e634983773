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

/// A page of metrics. A family's samples are written one after the other, as the format wants it.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Adds a family with one sample for each (label value, value); `label` names the label. Label values are of this
    /// program's own making: enum names, never what a client sent.
    pub fn family<'a>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.head(kind, name, help);
        for (value, number) in samples {
            let _ = writeln!(self.text, "{name}{{{label}=\"{value}\"}} {number}");
        }
    }

    /// Adds a family that is one sample without labels.
    pub fn single(&mut self, kind: Kind, name: &str, help: &str, number: f64) {
        self.head(kind, name, help);
        let _ = writeln!(self.text, "{name} {number}");
    }

    /// The page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn head(&mut self, kind: Kind, name: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_text_format() {
        let mut page = Exposition::default();
        page.single(Kind::Gauge, "a_bytes", "Bytes of a.", 1.5);
        page.family(Kind::Counter, "b_total", "All b.", "kind", [("x", 1.0), ("y", 2e20)]);
        let expected = "# HELP a_bytes Bytes of a.\n# TYPE a_bytes gauge\na_bytes 1.5\n\
             # HELP b_total All b.\n# TYPE b_total counter\nb_total{kind=\"x\"} 1\nb_total{kind=\"y\"} 200000000000000000000\n";
        assert_eq!(page.into_text(), expected);
    }
}
