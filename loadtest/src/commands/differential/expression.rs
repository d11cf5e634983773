//! Random PromQL expressions, as trees that can be shrunk.

use std::fmt;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number.
    Scalar,
    /// One sample a series.
    Vector,
    /// Several samples a series.
    Range,
}

/// A piece of an expression's text.
#[derive(Clone, Debug)]
enum Part {
    Text(String),
    /// May be left out without making the expression invalid.
    Optional(String),
    Child(Expression),
}

/// A PromQL expression.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    kind: Kind,
    parts: Vec<Part>,
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) | Part::Optional(text) => f.write_str(text)?,
                Part::Child(child) => write!(f, "{child}")?,
            }
        }
        Ok(())
    }
}

impl Expression {
    fn text(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, parts: vec![Part::Text(text.into())] }
    }

    fn of(kind: Kind, parts: Vec<Part>) -> Self {
        Self { kind, parts }
    }

    /// Expressions that are simpler than this one, the simplest first.
    #[must_use]
    pub(super) fn simpler(&self) -> Vec<Self> {
        let mut found = Vec::new();
        for part in &self.parts {
            // A query's result may be of another kind, as long as it is no range vector.
            if let Part::Child(child) = part
                && child.kind != Kind::Range
            {
                found.push(child.clone());
            }
        }
        found.extend(self.simpler_of_same_kind());
        found
    }

    fn simpler_of_same_kind(&self) -> Vec<Self> {
        let mut found = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let with = |replacement: Vec<Part>| {
                let mut parts = self.parts.clone();
                parts.splice(index..=index, replacement);
                Self { kind: self.kind, parts }
            };
            match part {
                Part::Text(_) => {}
                Part::Optional(_) => found.push(with(Vec::new())),
                Part::Child(child) => {
                    if child.kind == self.kind {
                        found.push(child.clone());
                    }
                    for simpler in child.simpler_of_same_kind() {
                        found.push(with(vec![Part::Child(simpler)]));
                    }
                }
            }
        }
        found
    }
}

/// How deep expressions nest at the most.
const MAX_DEPTH: u32 = 4;

/// Labels that the data set has, and one that it has not.
const LABELS: [&str; 5] = ["job", "instance", "env", "le", "absent_label"];
const DURATIONS: [&str; 7] = ["15s", "1m", "2m30s", "5m", "7m", "10m", "1h"];

/// Makes random expressions over the series of [`super::dataset`].
#[derive(Debug)]
pub(super) struct Generator<'r> {
    rng: &'r mut ChaCha8Rng,
    /// First and last timestamp of the data, in seconds.
    span_s: (i64, i64),
}

impl<'r> Generator<'r> {
    /// A generator for data between these times (seconds since the Unix epoch).
    pub(super) fn new(rng: &'r mut ChaCha8Rng, span_s: (i64, i64)) -> Self {
        Self { rng, span_s }
    }

    /// The next expression: a vector or, now and then, a scalar.
    pub(super) fn expression(&mut self) -> Expression {
        let depth = self.rng.random_range(1..=MAX_DEPTH);
        if self.one_in(12) { self.scalar(depth) } else { self.vector(depth) }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.choose(self.rng).copied().unwrap_or_default()
    }

    fn some_labels(&mut self) -> String {
        let count = self.rng.random_range(0..=3);
        let chosen: Vec<&str> = LABELS.choose_multiple(self.rng, count).copied().collect();
        chosen.join(", ")
    }

    fn selector_text(&mut self) -> String {
        let metric = self.pick(&super::dataset::METRICS);
        let mut matchers = Vec::new();
        while matchers.len() < 2 && self.one_in(3) {
            let text = match self.rng.random_range(0..7) {
                0 => r#"job="api""#,
                1 => r#"job!="api""#,
                2 => r#"instance=~"0|1|5""#,
                3 => r#"instance!~"1.*""#,
                4 => r#"env=~"p.*""#,
                5 => r#"env!="""#,
                _ => r#"le=~"(0\\.1|1|\\+Inf)""#,
            };
            matchers.push(text);
        }
        match self.rng.random_range(0..12) {
            0 => format!(r#"{{__name__=~"{}.*"{}}}"#, &metric[..2], prefixed(&matchers)),
            1 => format!(r#"{{"{metric}"{}}}"#, prefixed(&matchers)),
            _ if matchers.is_empty() => metric.to_owned(),
            _ => format!("{metric}{{{}}}", matchers.join(",")),
        }
    }

    fn time_modifiers(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        if self.one_in(6) {
            let sign = if self.one_in(4) { "-" } else { "" };
            let duration = self.pick(&DURATIONS);
            parts.push(Part::Optional(format!(" offset {sign}{duration}")));
        }
        if self.one_in(8) {
            let at = match self.rng.random_range(0..4) {
                0 => "start()".to_owned(),
                1 => "end()".to_owned(),
                2 => self.rng.random_range(self.span_s.0..self.span_s.1).to_string(),
                _ => format!("{}.345", self.rng.random_range(self.span_s.0..self.span_s.1)),
            };
            parts.push(Part::Optional(format!(" @ {at}")));
        }
        parts
    }

    fn range(&mut self, depth: u32) -> Expression {
        let duration = self.pick(&DURATIONS);
        if depth > 1 && self.one_in(4) {
            let inner = self.vector(depth - 1);
            let step = self.pick(&["", "15s", "30s", "1m", "77s"]);
            let mut parts =
                vec![Part::Text("(".into()), Part::Child(inner), Part::Text(format!(")[{duration}:{step}]"))];
            parts.extend(self.time_modifiers());
            return Expression::of(Kind::Range, parts);
        }
        let mut parts = vec![Part::Text(format!("{}[{duration}]", self.selector_text()))];
        parts.extend(self.time_modifiers());
        Expression::of(Kind::Range, parts)
    }

    fn scalar(&mut self, depth: u32) -> Expression {
        if depth <= 1 || self.one_in(2) {
            let text = self.pick(&[
                "0", "1", "2.5", "-3", "0.9", "1e3", "NaN", "Inf", "-Inf", "time()", "pi()", "0x1f", "5m",
                "1.5",
            ]);
            return Expression::text(Kind::Scalar, text);
        }
        if self.one_in(2) {
            let inner = self.vector(depth - 1);
            return call(Kind::Scalar, "scalar", vec![inner]);
        }
        let (left, right) = (self.scalar(depth - 1), self.scalar(depth - 1));
        let operator = self.pick(&["+", "-", "*", "/", "%", "^", "== bool", "> bool", "<= bool", "atan2"]);
        binary(Kind::Scalar, left, operator, "", right)
    }

    fn vector(&mut self, depth: u32) -> Expression {
        if depth <= 1 {
            let mut parts = vec![Part::Text(self.selector_text())];
            parts.extend(self.time_modifiers());
            return Expression::of(Kind::Vector, parts);
        }
        match self.rng.random_range(0..20) {
            0..=4 => self.aggregation(depth),
            5..=9 => self.range_function(depth),
            10..=12 => self.vector_function(depth),
            13..=14 => self.histogram_function(depth),
            15..=16 => self.vector_and_scalar(depth),
            17..=18 => self.vector_and_vector(depth),
            _ => {
                let inner = self.vector(depth - 1);
                let sign = self.pick(&["-", "", "+"]);
                Expression::of(
                    Kind::Vector,
                    vec![Part::Text(format!("{sign}(")), Part::Child(inner), Part::Text(")".into())],
                )
            }
        }
    }

    fn aggregation(&mut self, depth: u32) -> Expression {
        let operator = self.pick(&[
            "sum",
            "avg",
            "min",
            "max",
            "count",
            "group",
            "stddev",
            "stdvar",
            "topk",
            "bottomk",
            "quantile",
            "count_values",
        ]);
        let inner = match operator {
            // Among equal values the choice is nobody's contract, and so are last digits that become a label.
            "topk" | "bottomk" | "count_values" => self.tie_free(),
            _ => self.vector(depth - 1),
        };
        let grouping = match self.rng.random_range(0..3) {
            0 => String::new(),
            1 => format!(" by ({})", self.some_labels()),
            _ => format!(" without ({})", self.some_labels()),
        };
        let mut parts = vec![Part::Text(operator.into())];
        if !grouping.is_empty() {
            parts.push(Part::Optional(grouping));
        }
        parts.push(Part::Text(match operator {
            "topk" | "bottomk" => format!("({}, ", self.pick(&["1", "2", "5", "0"])),
            "quantile" => format!("({}, ", self.pick(&["0.5", "0", "1", "0.93", "-1", "NaN"])),
            "count_values" => r#"("value", "#.to_owned(),
            _ => "(".to_owned(),
        }));
        parts.extend([Part::Child(inner), Part::Text(")".into())]);
        Expression::of(Kind::Vector, parts)
    }

    /// A vector whose values differ from each other and do not depend on the order of additions.
    fn tie_free(&mut self) -> Expression {
        let duration = self.pick(&DURATIONS);
        let text = match self.rng.random_range(0..3) {
            0 => "gauge".to_owned(),
            1 => "counter_total".to_owned(),
            _ => format!("max_over_time(gauge[{duration}])"),
        };
        Expression::text(Kind::Vector, text)
    }

    fn range_function(&mut self, depth: u32) -> Expression {
        let range = self.range(depth);
        let function = self.pick(&[
            "rate",
            "rate",
            "rate",
            "increase",
            "increase",
            "delta",
            "irate",
            "idelta",
            "deriv",
            "changes",
            "resets",
            "avg_over_time",
            "sum_over_time",
            "min_over_time",
            "max_over_time",
            "count_over_time",
            "stddev_over_time",
            "stdvar_over_time",
            "last_over_time",
            "present_over_time",
            "absent_over_time",
            "first_over_time",
            "mad_over_time",
            "quantile_over_time",
            "predict_linear",
            "double_exponential_smoothing",
            "ts_of_min_over_time",
            "ts_of_max_over_time",
            "ts_of_last_over_time",
        ]);
        match function {
            "quantile_over_time" => {
                let quantile = Expression::text(Kind::Scalar, self.pick(&["0.5", "0", "1", "0.9", "2"]));
                call(Kind::Vector, function, vec![quantile, range])
            }
            "predict_linear" => {
                let ahead = Expression::text(Kind::Scalar, self.pick(&["60", "-30", "3600"]));
                call(Kind::Vector, function, vec![range, ahead])
            }
            "double_exponential_smoothing" => {
                let smoothing = Expression::text(Kind::Scalar, self.pick(&["0.5", "0.1"]));
                let trend = Expression::text(Kind::Scalar, self.pick(&["0.3", "0.9"]));
                call(Kind::Vector, function, vec![range, smoothing, trend])
            }
            _ => call(Kind::Vector, function, vec![range]),
        }
    }

    fn vector_function(&mut self, depth: u32) -> Expression {
        let inner = self.vector(depth - 1);
        let function = self.pick(&[
            "abs",
            "ceil",
            "floor",
            "exp",
            "ln",
            "log2",
            "log10",
            "sqrt",
            "sgn",
            "sin",
            "cos",
            "tanh",
            "asinh",
            "deg",
            "timestamp",
            "sort",
            "sort_desc",
            "absent",
            "day_of_week",
            "hour",
            "minute",
            "days_in_month",
            "round",
            "clamp",
            "clamp_min",
            "clamp_max",
            "label_replace",
            "label_join",
            "vector",
            "info",
        ]);
        match function {
            "round" => {
                let to = Expression::text(Kind::Scalar, self.pick(&["0.1", "5", "0.5"]));
                call(Kind::Vector, function, vec![inner, to])
            }
            "clamp" => {
                let low = Expression::text(Kind::Scalar, self.pick(&["-5", "0", "NaN"]));
                let high = Expression::text(Kind::Scalar, self.pick(&["3", "100", "-7"]));
                call(Kind::Vector, function, vec![inner, low, high])
            }
            "clamp_min" | "clamp_max" => {
                let bound = self.scalar(depth - 1);
                call(Kind::Vector, function, vec![inner, bound])
            }
            "vector" => {
                let scalar = self.scalar(depth - 1);
                call(Kind::Vector, function, vec![scalar])
            }
            "info" => {
                let data_labels = self.pick(&["", r#", {version=~".+"}"#, r#", {version="2", zone!=""}"#]);
                Expression::of(
                    Kind::Vector,
                    vec![
                        Part::Text("info(".into()),
                        Part::Child(inner),
                        Part::Optional(data_labels.into()),
                        Part::Text(")".into()),
                    ],
                )
            }
            "label_replace" => Expression::of(
                Kind::Vector,
                vec![
                    Part::Text("label_replace(".into()),
                    Part::Child(inner),
                    Part::Text(r#", "new", "$1-x", "instance", "([0-3])")"#.into()),
                ],
            ),
            "label_join" => Expression::of(
                Kind::Vector,
                vec![
                    Part::Text("label_join(".into()),
                    Part::Child(inner),
                    Part::Text(r#", "joined", "/", "job", "env")"#.into()),
                ],
            ),
            _ => call(Kind::Vector, function, vec![inner]),
        }
    }

    fn histogram_function(&mut self, depth: u32) -> Expression {
        let function = self.pick(&[
            "histogram_quantile",
            "histogram_quantile",
            "histogram_fraction",
            "histogram_count",
            "histogram_sum",
            "histogram_avg",
            "histogram_stddev",
            "histogram_stdvar",
        ]);
        let metric = self.pick(&["h_bucket", "native", "native", "custom"]);
        let duration = self.pick(&DURATIONS);
        let base = match self.rng.random_range(0..4) {
            0 => Expression::text(Kind::Vector, metric),
            1 => Expression::text(Kind::Vector, format!("rate({metric}[{duration}])")),
            2 => Expression::text(Kind::Vector, format!("sum by (job, le) (rate({metric}[{duration}]))")),
            _ => self.vector(depth - 1),
        };
        match function {
            "histogram_quantile" => {
                let quantile =
                    Expression::text(Kind::Scalar, self.pick(&["0.5", "0.99", "0", "1", "0.1", "1.5"]));
                call(Kind::Vector, function, vec![quantile, base])
            }
            "histogram_fraction" => {
                let low = Expression::text(Kind::Scalar, self.pick(&["0", "-Inf", "0.2", "-1"]));
                let high = Expression::text(Kind::Scalar, self.pick(&["1", "Inf", "0.7", "0"]));
                call(Kind::Vector, function, vec![low, high, base])
            }
            _ => call(Kind::Vector, function, vec![base]),
        }
    }

    fn vector_and_scalar(&mut self, depth: u32) -> Expression {
        let (vector, scalar) = (self.vector(depth - 1), self.scalar(depth - 1));
        let operator = self.pick(&[
            "+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "> bool", "== bool", "atan2",
        ]);
        if self.one_in(2) {
            binary(Kind::Vector, vector, operator, "", scalar)
        } else {
            binary(Kind::Vector, scalar, operator, "", vector)
        }
    }

    fn vector_and_vector(&mut self, depth: u32) -> Expression {
        let (left, right) = (self.vector(depth - 1), self.vector(depth - 1));
        let set = self.one_in(4);
        let operator = if set {
            self.pick(&["and", "or", "unless"])
        } else {
            self.pick(&["+", "-", "*", "/", "%", "^", "==", "!=", ">", "<=", "== bool", "< bool", "atan2"])
        };
        let on = match self.rng.random_range(0..3) {
            0 => String::new(),
            1 => format!(" on ({})", self.some_labels()),
            _ => format!(" ignoring ({})", self.some_labels()),
        };
        let group = if set || on.is_empty() {
            ""
        } else {
            self.pick(&["", "", " group_left ()", " group_right (env)", " group_left (job)"])
        };
        binary(Kind::Vector, left, operator, &format!("{on}{group}"), right)
    }
}

fn prefixed(matchers: &[&str]) -> String {
    matchers.iter().map(|matcher| format!(",{matcher}")).collect()
}

fn call(kind: Kind, function: &str, arguments: Vec<Expression>) -> Expression {
    let mut parts = vec![Part::Text(format!("{function}("))];
    for (index, argument) in arguments.into_iter().enumerate() {
        if index > 0 {
            parts.push(Part::Text(", ".into()));
        }
        parts.push(Part::Child(argument));
    }
    parts.push(Part::Text(")".into()));
    Expression::of(kind, parts)
}

fn binary(kind: Kind, left: Expression, operator: &str, matching: &str, right: Expression) -> Expression {
    let mut parts = vec![Part::Text("(".into()), Part::Child(left), Part::Text(format!(" {operator}"))];
    if !matching.is_empty() {
        parts.push(Part::Optional(matching.to_owned()));
    }
    parts.extend([Part::Text(" ".into()), Part::Child(right), Part::Text(")".into())]);
    Expression::of(kind, parts)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_expressions_and_shrinking_ends() {
        let texts = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut generator = Generator::new(&mut rng, (1_000, 2_000));
            (0..200).map(|_| generator.expression().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(texts(7), texts(7));
        assert_ne!(texts(7), texts(8));

        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut generator = Generator::new(&mut rng, (1_000, 2_000));
        for _ in 0..200 {
            let mut expression = generator.expression();
            let mut steps = 0;
            while let Some(simpler) = expression.simpler().into_iter().next() {
                assert!(simpler.to_string().len() < expression.to_string().len(), "{expression} → {simpler}");
                expression = simpler;
                steps += 1;
                assert!(steps < 200);
            }
        }
    }
}
