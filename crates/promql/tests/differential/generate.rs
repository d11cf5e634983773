//! Random queries that the type checker accepts, over the metrics of the store.

use promql::Window;

use crate::data::{DURATION_MS, START_MS};
use crate::random::Random;

pub(crate) struct Case {
    pub(crate) query: String,
    pub(crate) window: Window,
}

const METRICS: [&str; 10] = [
    "requests_total",
    "errors_total",
    "temperature",
    "wild",
    "latency",
    "sizes",
    "load",
    "mixed",
    "duration_bucket",
    "target_info",
];

const MATCHERS: [&str; 8] = [
    "",
    "{job=\"api\"}",
    "{job!=\"api\"}",
    "{instance=~\"0|2\"}",
    "{mode!~\"w.*\"}",
    "{instance=~\".+\",mode=\"r\"}",
    "{le=~\".*5\"}",
    "{nothing=\"\"}",
];

const MODIFIERS: [&str; 8] =
    ["", "", "", "", " offset 1m", " offset -90s", " @ 1700001000", " @ end() offset 2m"];
const RANGES: [&str; 6] = ["[1m]", "[5m]", "[37s]", "[15m]", "[2m30s]", "[90]"];
const SUBRANGES: [&str; 5] = ["[5m:]", "[10m:1m]", "[3m:17s]", "[5m:30s] offset 1m", "[10m:2m] @ 1700001200"];
const GROUPS: [&str; 7] = [
    "",
    " by (job)",
    " by (job, instance)",
    " without (instance)",
    " by (le, job)",
    " by ()",
    " without (mode, le)",
];

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
        let query = if random.chance(8) { scalar(random, depth) } else { vector(random, depth) };
        Self { query, window }
    }
}

fn selector(random: &mut Random) -> String {
    format!("{}{}", random.pick(&METRICS), random.pick(&MATCHERS))
}

fn range(random: &mut Random, depth: u64) -> String {
    if depth > 0 && random.chance(20) {
        let inner = vector(random, depth - 1);
        // The server loses its way with `@` in subqueries of subqueries.
        let subrange = random.pick(if inner.contains(':') { &SUBRANGES[..4] } else { &SUBRANGES });
        return format!("({inner}){subrange}");
    }
    format!("{}{}{}", selector(random), random.pick(&RANGES), random.pick(&MODIFIERS))
}

fn scalar(random: &mut Random, depth: u64) -> String {
    match random.below(if depth > 0 { 7 } else { 4 }) {
        0 | 1 => random.pick(&["0", "1", "2.5", "-3", "0.9", "1e10", "NaN", "Inf", "5m"]).to_owned(),
        // As a power or a divisor's dividend, a large number blows the last digit up.
        2 => "(time() - 1700000000)".to_owned(),
        3 => "pi()".to_owned(),
        4 => format!("scalar({})", vector(random, depth - 1)),
        5 => {
            let op = random.pick(&["+", "-", "*", "/", "%", "^", "atan2", "== bool", "< bool", ">= bool"]);
            format!("({} {op} {})", scalar(random, depth - 1), scalar(random, depth - 1))
        }
        _ => format!("-({})", scalar(random, depth - 1)),
    }
}

fn vector(random: &mut Random, depth: u64) -> String {
    if depth == 0 {
        return if random.chance(60) {
            format!("{}{}", selector(random), random.pick(&MODIFIERS))
        } else {
            range_call(random, 0)
        };
    }
    match random.below(12) {
        0 | 1 => range_call(random, depth),
        2 | 3 => aggregation(random, depth),
        4 => binary(random, depth),
        5 => {
            let op = random.pick(&["+", "-", "*", "/", "%", "^", "==", "!=", "> bool", "<", ">=", "atan2"]);
            let (vector, scalar) = (vector(random, depth - 1), scalar(random, depth - 1));
            if random.chance(50) {
                format!("({vector} {op} {scalar})")
            } else {
                format!("({scalar} {op} {vector})")
            }
        }
        6 => format!("-({})", vector(random, depth - 1)),
        7 => map_call(random, depth),
        8 => {
            let quantile = scalar(random, 0);
            let buckets = random.pick(&[
                "duration_bucket",
                "rate(duration_bucket[5m])",
                "latency",
                "sizes",
                "rate(latency[3m])",
            ]);
            if random.chance(40) {
                format!("histogram_quantile({quantile}, sum{} ({buckets}))", random.pick(&GROUPS))
            } else {
                format!("histogram_quantile({quantile}, {buckets})")
            }
        }
        9 => match random.below(8) {
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
            2 => format!(
                "label_replace({}, \"new\", \"$1-x\", \"instance\", \"(.*)\")",
                vector(random, depth - 1)
            ),
            3 => format!("label_join({}, \"new\", \"-\", \"job\", \"mode\")", vector(random, depth - 1)),
            4 => format!(
                "histogram_fraction({}, {}, {})",
                scalar(random, 0),
                scalar(random, 0),
                vector(random, depth - 1)
            ),
            _ => format!("vector({})", scalar(random, depth - 1)),
        },
        10 => {
            let op = random.pick(&["and", "or", "unless"]);
            let on = random.pick(&["", " on (job)", " ignoring (mode)", " on ()"]);
            format!("({} {op}{on} {})", vector(random, depth - 1), vector(random, depth - 1))
        }
        _ => format!("{}{}", selector(random), random.pick(&MODIFIERS)),
    }
}

fn range_call(random: &mut Random, depth: u64) -> String {
    let range = range(random, depth);
    match random.below(12) {
        0 => format!("quantile_over_time({}, {range})", random.pick(&["0.5", "0.9", "0", "1", "-1"])),
        1 => format!("predict_linear({range}, {})", random.pick(&["60", "-30", "3600"])),
        2 => format!("double_exponential_smoothing({range}, 0.3, 0.6)"),
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
            format!("{function}({range})")
        }
    }
}

fn map_call(random: &mut Random, depth: u64) -> String {
    let inner = vector(random, depth - 1);
    match random.below(5) {
        0 => format!("clamp({inner}, {}, {})", scalar(random, 0), scalar(random, 0)),
        1 => format!("round({inner}, {})", random.pick(&["1", "0.5", "10"])),
        2 => {
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
                "ceil",
                "floor",
                "exp",
                "ln",
                "log2",
                "log10",
                "sqrt",
                "sgn",
                "sin",
                "cosh",
                "atan",
                "deg",
                "timestamp",
                "hour",
                "day_of_week",
                "days_in_month",
                "year",
                "month",
                "day_of_year",
            ]);
            format!("{function}({inner})")
        }
    }
}

fn aggregation(random: &mut Random, depth: u64) -> String {
    let inner = vector(random, depth - 1);
    let group = random.pick(&GROUPS);
    match random.below(8) {
        0 => format!("quantile{group} ({}, {inner})", random.pick(&["0.5", "0.95", "2", "NaN"])),
        // Values as they were written: in the last digits of a result's text the two may differ.
        1 => format!("count_values{group} (\"value\", {})", random.pick(&["requests_total", "temperature"])),
        // Only selectors have an order in the server; what its operators make comes in that of a hash table.
        2 => format!("limitk{group} ({}, {})", random.pick(&["1", "2", "5"]), selector(random)),
        3 => format!("limit_ratio ({}, {inner})", random.pick(&["0.5", "-0.5", "1", "0.1"])),
        _ => {
            let op = random.pick(&["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]);
            format!("{op}{group} ({inner})")
        }
    }
}

fn binary(random: &mut Random, depth: u64) -> String {
    let op = random.pick(&["+", "-", "*", "/", "%", "^", "==", "!=", ">", "< bool", "== bool", "atan2"]);
    let (lhs, rhs) = (vector(random, depth - 1), vector(random, depth - 1));
    let matching = random.pick(&[
        "",
        "",
        " on (job, instance, mode)",
        " ignoring (le)",
        " on (job, instance) group_left ()",
        " on (job) group_right (mode)",
        " ignoring (mode, le) group_left (region)",
    ]);
    format!("({lhs} {op}{matching} {rhs})")
}
