//! Random queries that the type checker accepts, over the metrics of the store.

use promql::Window;

use crate::answer::Order;
use crate::data::{DURATION_MS, START_MS};
use crate::random::Random;

pub(crate) struct Case {
    pub(crate) query: String,
    pub(crate) window: Window,
    pub(crate) order: Order,
}

const METRICS: [&str; 16] = [
    "requests_total",
    "errors_total",
    "temperature",
    "wild",
    "steady",
    "latency",
    "sizes",
    "load",
    "mixed",
    "drifting",
    "bounds",
    "nans",
    "duration_bucket",
    "target_info",
    "größe.in bytes",
    "anfragen.total",
];

/// Of [`METRICS`], those with native histograms.
const WITH_HISTOGRAMS: [&str; 7] = ["latency", "sizes", "load", "mixed", "drifting", "bounds", "nans"];

const MATCHERS: [&str; 10] = [
    "",
    "",
    "job=\"api\"",
    "job!=\"api\"",
    "instance=~\"0|2\"",
    "mode!~\"w.*\"",
    "instance=~\".+\",mode=\"r\"",
    "le=~\".*5\"",
    "nothing=\"\"",
    "\"zone.name\"=~\".*\"",
];

const MODIFIERS: [&str; 14] = [
    "",
    "",
    "",
    "",
    "",
    "",
    " offset 1m",
    " offset -90s",
    " offset (2m - 30s) / 2",
    " @ 1700001000",
    " @ 1700001000.5",
    " @ start()",
    " @ end() offset 2m",
    " @ end() offset -1m30s",
];
const RANGES: [&str; 9] =
    ["[1m]", "[5m]", "[37s]", "[15m]", "[2m30s]", "[90]", "[2m * 3]", "[(2 ^ 3) * 30s + 1m]", "[15m % 4m]"];
const SUBRANGES: [&str; 8] = [
    "[5m:]",
    "[10m:1m]",
    "[3m:17s]",
    "[5m:30s] offset 1m",
    "[4m:25s] offset -2m",
    "[2m * 2:1m / 2]",
    "[10m:2m] @ 1700001200",
    "[8m:1m] @ end()",
];
/// Of [`SUBRANGES`], so many are without `@`.
const PLAIN_SUBRANGES: usize = 6;
const GROUPS: [&str; 9] = [
    "",
    " by (job)",
    " by (job, instance)",
    " without (instance)",
    " by (le, job)",
    " by ()",
    " without (mode, le)",
    " by (\"zone.name\")",
    " by (__name__, mode)",
];
const OPERATORS: [&str; 13] =
    ["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<=", "< bool", "== bool"];
/// What comes behind it could be taken for a part of its duration.
const OPEN_MODIFIER: &str = " offset (2m - 30s) / 2";
/// What makes numbers whose last digits are not the same everywhere: the server computes powers and the like with the
/// processor's fused multiplication and addition where there is one, and sums of many numbers are taken in another order
/// here.
const INEXACT: [&str; 14] = [
    "^",
    "exp",
    "ln(",
    "log",
    "sin",
    "cos",
    "tan",
    "std",
    "avg",
    "deriv",
    "predict",
    "smoothing",
    "histogram_quantile",
    "histogram_fraction",
];
/// Functions that make much of a last digit.
const JUMPY: [&str; 15] = [
    "ceil",
    "cos",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "floor",
    "hour",
    "minute",
    "month",
    "round",
    "sgn",
    "sin",
    "tan",
    "year",
];

/// The same of functions of ranges: it may look like a reset, or decide which value is the least.
const JUMPY_OVER_TIME: [&str; 7] =
    ["changes", "increase", "irate", "rate", "resets", "ts_of_max_over_time", "ts_of_min_over_time"];

fn is_exact(text: &str) -> bool {
    !INEXACT.iter().any(|name| text.contains(name))
}

impl Case {
    pub(crate) fn random(random: &mut Random) -> Self {
        let start_ms = START_MS + random.below(DURATION_MS as u64 + 600_000) as i64;
        let window = if random.chance(35) {
            Window::instant(start_ms)
        } else {
            let step_ms = [1_000, 15_000, 30_000, 61_000, 300_000][random.below(5) as usize];
            Window { start_ms, end_ms: start_ms + step_ms * random.below(12) as i64, step_ms }
        };
        let depth = random.below(4);
        let (query, order) = match random.below(100) {
            0..8 => (scalar(random, depth), Order::Any),
            8..12 => {
                let inner = vector(random, depth);
                (format!("{}({inner})", random.pick(&["sort", "sort_desc"])), Order::Values)
            }
            12..15 => {
                let labels = random.pick(&[&["instance"][..], &["mode", "job"], &["zone.name", "instance"]]);
                let function = random.pick(&["sort_by_label", "sort_by_label_desc"]);
                let quoted: Vec<String> = labels.iter().map(|label| format!("{label:?}")).collect();
                let inner = vector(random, depth);
                (format!("{function}({inner}, {})", quoted.join(", ")), Order::Labels(labels))
            }
            15..17 => (format!("{}{}", selector(random), random.pick(&RANGES)), Order::Any),
            _ => (vector(random, depth), Order::Any),
        };
        let order = if window.is_instant() { order } else { Order::Any };
        Self { query, window, order }
    }
}

fn selector(random: &mut Random) -> String {
    let (metric, matchers) = (random.pick(&METRICS), random.pick(&MATCHERS));
    let is_plain = metric.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match (is_plain, matchers) {
        (true, "") => metric.to_owned(),
        (true, matchers) => format!("{metric}{{{matchers}}}"),
        (false, matchers) => format!("{{\"{metric}\",{matchers}}}"),
    }
}

fn modified(selector: &str, random: &mut Random) -> String {
    let modifier = random.pick(&MODIFIERS);
    if modifier == OPEN_MODIFIER {
        format!("({selector}{modifier})")
    } else {
        format!("{selector}{modifier}")
    }
}

fn range(random: &mut Random, depth: u64) -> String {
    if depth > 0 && random.chance(20) {
        let inner = vector(random, depth - 1);
        let (plain, pinned) = SUBRANGES.split_at(PLAIN_SUBRANGES);
        // In subqueries of subqueries the server loses its way with `@`: it looks at another time where one has `@` and begins
        // when the one around it does. And it mixes histograms up: asked for one of the series alone, it answers otherwise.
        let is_nested = inner.contains(':');
        let has = |texts: &[&str]| texts.iter().any(|text| inner.contains(text));
        let is_lost = is_nested && (has(pinned) || has(&WITH_HISTOGRAMS));
        if !is_lost {
            return format!("({inner}){}", random.pick(if is_nested { plain } else { &SUBRANGES }));
        }
    }
    let selector = format!("{}{}", selector(random), random.pick(&RANGES));
    modified(&selector, random)
}

fn scalar(random: &mut Random, depth: u64) -> String {
    match random.below(if depth > 0 { 7 } else { 4 }) {
        0 | 1 => random
            .pick(&["0", "1", "2.5", "-3", "0.9", "1e10", "NaN", "Inf", "-Inf", "5m", "0x1F", "1_000", ".5"])
            .to_owned(),
        // As a power or a divisor's dividend, a large number blows the last digit up.
        2 => "(time() - 1700000000)".to_owned(),
        3 => "pi()".to_owned(),
        4 => format!("scalar({})", vector(random, depth - 1)),
        5 => {
            let op = random.pick(&["+", "-", "*", "/", "%", "^", "atan2", "== bool", "< bool", ">= bool"]);
            let (lhs, rhs) = (scalar(random, depth - 1), scalar(random, depth - 1));
            format!("({lhs} {} {rhs})", fitting(op, &lhs, &rhs))
        }
        _ => format!("{}({})", random.pick(&["-", "+"]), scalar(random, depth - 1)),
    }
}

/// The operator, or one that does not make much of the last digit of an operand.
fn fitting<'o>(op: &'o str, lhs: &str, rhs: &str) -> &'o str {
    if op == "%" && !(is_exact(lhs) && is_exact(rhs)) { "-" } else { op }
}

fn vector(random: &mut Random, depth: u64) -> String {
    if depth == 0 {
        return if random.chance(60) { modified(&selector(random), random) } else { range_call(random, 0) };
    }
    match random.below(12) {
        0 | 1 => range_call(random, depth),
        2 | 3 => aggregation(random, depth),
        4 => binary(random, depth),
        5 => {
            let op = random.pick(&OPERATORS);
            let (vector, scalar) = (vector(random, depth - 1), scalar(random, depth - 1));
            let op = fitting(op, &vector, &scalar);
            if random.chance(50) {
                format!("({vector} {op} {scalar})")
            } else {
                format!("({scalar} {op} {vector})")
            }
        }
        6 => format!("{}({})", random.pick(&["-", "-", "+"]), vector(random, depth - 1)),
        7 => map_call(random, depth),
        8 => quantile_of_histogram(random),
        9 => other_call(random, depth),
        10 => {
            let op = random.pick(&["and", "or", "unless"]);
            let on = random.pick(&["", " on (job)", " ignoring (mode)", " on ()", " on (\"zone.name\")"]);
            format!("({} {op}{on} {})", vector(random, depth - 1), vector(random, depth - 1))
        }
        _ => modified(&selector(random), random),
    }
}

fn quantile_of_histogram(random: &mut Random) -> String {
    let quantile = scalar(random, 0);
    let buckets = random.pick(&[
        "duration_bucket",
        "rate(duration_bucket[5m])",
        "latency",
        "sizes",
        "rate(latency[3m])",
        "drifting",
        "rate(drifting[4m])",
        "bounds",
        "nans",
        "increase(nans[2m])",
        "{__name__=~\"latency|duration_bucket\"}",
    ]);
    if random.chance(40) {
        format!("histogram_quantile({quantile}, sum{} ({buckets}))", random.pick(&GROUPS))
    } else {
        format!("histogram_quantile({quantile}, {buckets})")
    }
}

fn other_call(random: &mut Random, depth: u64) -> String {
    match random.below(10) {
        6 | 7 => {
            // Over series with gaps the server mixes series up.
            let base = random.pick(&["steady", "steady{mode=\"r\"}", "rate(steady[5m])", "-steady"]);
            let labels = random.pick(&[
                "",
                ", {region=~\".+\"}",
                ", {region=\"eu\"}",
                ", {__name__=\"target_info\"}",
                ", {nothing=~\".+\"}",
                ", {__name__=~\".*_info\",region!=\"us\"}",
            ]);
            format!("info({base}{labels})")
        }
        0 => format!("absent({})", vector(random, depth - 1)),
        1 => format!("absent_over_time({})", range(random, depth)),
        2 | 8 => {
            let (label, replacement, source, pattern) = random.pick(&[
                ("new", "$1-x", "instance", "(.*)"),
                ("job", "", "mode", "r"),
                ("instance", "same", "instance", ".*"),
                ("zone.name", "${a}$$", "zone.name", "(?P<a>.{2}).*"),
                ("__name__", "renamed_$0", "job", "a.*"),
                ("le", "$1", "le", "0(.+)"),
            ]);
            format!(
                "label_replace({}, \"{label}\", \"{replacement}\", \"{source}\", \"{pattern}\")",
                vector(random, depth - 1)
            )
        }
        3 => {
            let labels = random.pick(&[
                "\"new\", \"-\", \"job\", \"mode\"",
                "\"mode\", \"\"",
                "\"job\", \"/\", \"zone.name\"",
            ]);
            format!("label_join({}, {labels})", vector(random, depth - 1))
        }
        4 => format!(
            "histogram_fraction({}, {}, {})",
            scalar(random, 0),
            scalar(random, 0),
            vector(random, depth - 1)
        ),
        5 => format!("vector({})", scalar(random, depth - 1)),
        _ => format!("{}()", random.pick(&["hour", "minute", "day_of_month", "days_in_month"])),
    }
}

fn range_call(random: &mut Random, depth: u64) -> String {
    let range = range(random, depth);
    match random.below(12) {
        0 => {
            let quantile = if random.chance(80) {
                random.pick(&["0.5", "0.9", "0", "1", "-1"]).to_owned()
            } else {
                scalar(random, depth)
            };
            format!("quantile_over_time({quantile}, {range})")
        }
        1 => format!(
            "predict_linear({range}, {})",
            random.pick(&["60", "-30", "3600", "(time() - 1700000000)"])
        ),
        2 => {
            let factors = random.pick(&["0.3, 0.6", "0.9, 0.05", "0.01, 0.99", "0.5, 1"]);
            format!("double_exponential_smoothing({range}, {factors})")
        }
        _ => {
            let function = random.pick(&[
                "rate",
                "rate",
                "increase",
                "delta",
                "irate",
                "idelta",
                "sum_over_time",
                "avg_over_time",
                "min_over_time",
                "max_over_time",
                "count_over_time",
                "last_over_time",
                "present_over_time",
                "stddev_over_time",
                "stdvar_over_time",
                "changes",
                "resets",
                "deriv",
                "mad_over_time",
                "ts_of_last_over_time",
                "ts_of_min_over_time",
                "ts_of_max_over_time",
            ]);
            let is_jumpy = JUMPY_OVER_TIME.contains(&function) && range.contains(':') && !is_exact(&range);
            format!("{}({range})", if is_jumpy { "max_over_time" } else { function })
        }
    }
}

fn map_call(random: &mut Random, depth: u64) -> String {
    let inner = vector(random, depth - 1);
    match random.below(7) {
        0 => format!("clamp({inner}, {}, {})", scalar(random, 0), scalar(random, 0)),
        1 if is_exact(&inner) => format!("round({inner}, {})", random.pick(&["1", "0.5", "10"])),
        2 => format!("{}({inner}, {})", random.pick(&["clamp_min", "clamp_max"]), scalar(random, 0)),
        3 | 4 => {
            let function = random.pick(&[
                "histogram_count",
                "histogram_sum",
                "histogram_avg",
                "histogram_stddev",
                "histogram_stdvar",
            ]);
            format!("{function}({inner})")
        }
        _ => {
            let function = random.pick(&[
                "abs",
                "acos",
                "acosh",
                "asin",
                "asinh",
                "atan",
                "atanh",
                "ceil",
                "cos",
                "cosh",
                "day_of_month",
                "day_of_week",
                "day_of_year",
                "days_in_month",
                "deg",
                "exp",
                "floor",
                "hour",
                "ln",
                "log10",
                "log2",
                "minute",
                "month",
                "rad",
                "round",
                "sgn",
                "sin",
                "sinh",
                "sqrt",
                "tan",
                "tanh",
                "timestamp",
                "timestamp",
                "year",
            ]);
            let function = if JUMPY.contains(&function) && !is_exact(&inner) { "abs" } else { function };
            format!("{function}({inner})")
        }
    }
}

fn aggregation(random: &mut Random, depth: u64) -> String {
    let inner = vector(random, depth - 1);
    let group = random.pick(&GROUPS);
    match random.below(10) {
        0 => format!("quantile{group} ({}, {inner})", random.pick(&["0.5", "0.95", "2", "NaN"])),
        // Values as they were written: in the last digits of a result's text the two may differ.
        1 => {
            let label = random.pick(&["value", "job", "zone.name"]);
            format!("count_values{group} (\"{label}\", {})", selector(random))
        }
        // Only selectors have an order in the server; what its operators make comes in that of a hash table.
        2 => format!("limitk{group} ({}, {})", random.pick(&["1", "2", "5", "0"]), selector(random)),
        3 => format!("limit_ratio ({}, {inner})", random.pick(&["0.5", "-0.5", "1", "0.1", "-1.5", "0"])),
        4 => {
            let op = random.pick(&["topk", "bottomk"]);
            format!("{op}{group} ({}, {})", random.pick(&["1", "2", "5", "0"]), selector(random))
        }
        _ => {
            let op = random
                .pick(&["sum", "sum", "avg", "avg", "min", "max", "count", "group", "stddev", "stdvar"]);
            // Of times, which are large and close to each other, few digits of a deviation are left, and which ones depends on
            // the order of the server's hash tables.
            let of_times = inner.contains("ts_of") || inner.contains("timestamp");
            let op = if op.starts_with("std") && of_times { "max" } else { op };
            format!("{op}{group} ({inner})")
        }
    }
}

fn binary(random: &mut Random, depth: u64) -> String {
    let op = random.pick(&OPERATORS);
    let (lhs, rhs) = (vector(random, depth - 1), vector(random, depth - 1));
    let op = fitting(op, &lhs, &rhs);
    let matching = random.pick(&[
        "",
        "",
        " on (job, instance, mode)",
        " ignoring (le)",
        " ignoring (le, \"zone.name\")",
        " on (job, instance) group_left ()",
        " on (job) group_right (mode)",
        " ignoring (mode, le) group_left (region)",
        " on (job, instance) group_left (\"zone.name\")",
    ]);
    format!("({lhs} {op}{matching} {rhs})")
}
