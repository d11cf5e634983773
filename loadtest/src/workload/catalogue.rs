//! The families that targets expose, read from `catalogue.txt`.

/// What a family's values are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Counts events.
    Counter,
    /// Counts bytes: large steps.
    CounterBytes,
    /// CPU seconds in hundredths, as the kernel reports them.
    CounterCpu,
    /// Seconds in nanoseconds.
    CounterSeconds,
    /// A whole number that goes up and down.
    Gauge,
    /// A number with few decimals that goes up and down.
    GaugeDecimal,
    /// Bytes in pages of 4 KiB that go up and down.
    Bytes,
    /// The constant 1 (or 0).
    Info,
    /// A configured number that does not change.
    Limit,
    /// A moment in the past, in Unix seconds with decimals.
    StartTime,
    /// A classic histogram: `_bucket` with `le`, `_sum`, `_count`.
    Histogram,
}

/// One metric family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    /// The metric's name, where `{app}` stands for the service's prefix.
    pub(super) name: String,
    /// What its values are like.
    pub(super) kind: Kind,
    /// Every combination of the values of its own labels; one empty combination when it has none.
    pub(super) dimensions: Vec<Vec<(String, String)>>,
}

/// All families, by who exposes them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Catalogue {
    /// A node exporter, once a node.
    pub(super) node: Vec<Family>,
    /// A kubelet, for each container on its node.
    pub(super) container: Vec<Family>,
    /// kube-state-metrics, for each pod of the cluster.
    pub(super) pod: Vec<Family>,
    /// A pod itself.
    pub(super) app: Vec<Family>,
}

impl Catalogue {
    /// The catalogue that every workload is made of.
    #[expect(clippy::expect_used, reason = "the text is a part of the program and a test parses it")]
    #[must_use]
    pub(super) fn embedded() -> Self {
        Self::parse(include_str!("catalogue.txt")).expect("the embedded catalogue parses")
    }

    /// Parses the format that the head of `catalogue.txt` describes; `None` when a line does not have it.
    fn parse(text: &str) -> Option<Self> {
        let mut catalogue = Self::default();
        let mut section = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line {
                "[node]" => section = Some(&mut catalogue.node),
                "[container]" => section = Some(&mut catalogue.container),
                "[pod]" => section = Some(&mut catalogue.pod),
                "[app]" => section = Some(&mut catalogue.app),
                family => section.as_mut()?.push(parse_family(family)?),
            }
        }
        Some(catalogue)
    }
}

fn parse_family(line: &str) -> Option<Family> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let kind = match words.next()? {
        "counter" => Kind::Counter,
        "counter_bytes" => Kind::CounterBytes,
        "counter_cpu" => Kind::CounterCpu,
        "counter_seconds" => Kind::CounterSeconds,
        "gauge" => Kind::Gauge,
        "gauge_decimal" => Kind::GaugeDecimal,
        "bytes" => Kind::Bytes,
        "info" => Kind::Info,
        "limit" => Kind::Limit,
        "start_time" => Kind::StartTime,
        "histogram" => Kind::Histogram,
        _ => return None,
    };
    let mut dimensions = vec![Vec::new()];
    for word in words {
        let (label, values) = word.split_once('=')?;
        let values = parse_values(values)?;
        dimensions = dimensions
            .iter()
            .flat_map(|combination| values.iter().map(move |value| (combination, value)))
            .map(|(combination, value)| {
                let mut combination: Vec<(String, String)> = combination.clone();
                combination.push((label.to_owned(), value.clone()));
                combination
            })
            .collect();
    }
    Some(Family { name, kind, dimensions })
}

fn parse_values(text: &str) -> Option<Vec<String>> {
    if let Some((from, to)) = text.split_once("..") {
        let range = from.parse::<u32>().ok()?..to.parse::<u32>().ok()?;
        return Some(range.map(|n| n.to_string()).collect());
    }
    Some(text.split(',').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_text_parses_and_has_a_few_hundred_families() {
        let catalogue = Catalogue::embedded();
        let sections = [&catalogue.node, &catalogue.container, &catalogue.pod, &catalogue.app];
        assert!(sections.iter().all(|section| section.len() > 15));
        assert!(sections.iter().map(|section| section.len()).sum::<usize>() > 250);
    }

    #[test]
    fn dimensions_are_combined() {
        let catalogue =
            Catalogue::parse("[app]\nx_total counter cpu=0..2 mode=idle,user\ny gauge\n").unwrap();
        let of = |cpu: &str, mode: &str| {
            vec![("cpu".to_owned(), cpu.to_owned()), ("mode".to_owned(), mode.to_owned())]
        };
        assert_eq!(
            catalogue.app[0].dimensions,
            [of("0", "idle"), of("0", "user"), of("1", "idle"), of("1", "user")]
        );
        assert_eq!(catalogue.app[1].dimensions, [vec![]]);
    }

    #[test]
    fn a_line_that_is_not_a_family_is_refused() {
        for text in
            ["x counter", "[app]\nx", "[app]\nx sometimes", "[app]\nx counter cpu", "[app]\nx gauge n=0..z"]
        {
            assert_eq!(Catalogue::parse(text), None, "{text:?}");
        }
    }
}
