//! Queries: parameters, expressions, bounds. Statuses and messages are Prometheus's.

use super::{Case, case};
use crate::harness::Farwatch;

pub(super) fn cases(server: &Farwatch) -> Vec<Case> {
    let get = |path: &str| server.get(&format!("/api/v1/{path}"));
    let ask = |query: &str| server.post("/api/v1/query").form(&[("query", query)]);
    let range = |start: &str, end: &str, step: &str| {
        let form = [("query", "up"), ("start", start), ("end", end), ("step", step)];
        server.post("/api/v1/query_range").form(&form)
    };
    vec![
        case("no query", get("query"), 400, "bad_data"),
        case("an empty query", ask(""), 400, "parse error"),
        case("a query cut short", ask("sum by (job) (rate(up[5m])"), 400, "parse error"),
        case("a query with a stray character", ask("up &"), 400, "parse error"),
        case("a function that does not exist", ask("brew(up)"), 400, "unknown function"),
        case("a type that does not fit", ask("rate(up)"), 400, "expected type range vector"),
        case("a selector of everything", ask("{}"), 400, "at least one non-empty matcher"),
        case("a regular expression that is none", ask("up{job=~\"(\"}"), 400, "bad_data"),
        case(
            "a regular expression of enormous size",
            ask("up{job=~\"((a{1000}){1000}){1000}\"}"),
            400,
            "bad_data",
        ),
        case("nesting without end", ask(&"(".repeat(100_000)), 400, "bad_data"),
        case("signs without end", ask(&format!("{}1", "-".repeat(100_000))), 400, "bad_data"),
        case(
            "a query of two megabytes",
            ask(&format!("up{{job=\"{}\"}}", "x".repeat(2 << 20))),
            400,
            "more than 1048576",
        ),
        case("a time that is none", get("query?query=up&time=noon"), 400, "bad_data"),
        case("a time beyond time", get("query?query=up&time=1e300"), 400, "bad_data"),
        case("a timeout that is none", get("query?query=up&timeout=soon"), 400, "bad_data"),
        case("a lookback that is none", get("query?query=up&lookback_delta=far"), 400, "bad_data"),
        case("bytes that are not UTF-8", get("query?query=%ff%fe"), 400, ""),
        case(
            "a range that ends before it starts",
            range("100", "50", "1"),
            400,
            "end timestamp must not be before start",
        ),
        case("a step of zero", range("0", "100", "0"), 400, "zero or negative query resolution step"),
        case("a negative step", range("0", "100", "-1"), 400, "zero or negative query resolution step"),
        case(
            "too many points",
            range("0", "100000", "1"),
            400,
            "exceeded maximum resolution of 11,000 points",
        ),
        case("a range without a step", range("0", "100", ""), 400, "bad_data"),
        case("series of nothing", get("series"), 400, "no match[] parameter provided"),
        case("series of nonsense", get("series?match[]=%7Bjob"), 400, "bad_data"),
        case("series of everything", get("series?match[]=%7B%7D"), 400, "at least one non-empty matcher"),
        case("labels of nonsense", get("labels?match[]=1%2B1"), 400, "bad_data"),
        case("a limit that is none", get("labels?limit=many"), 400, "bad_data"),
        case("a path that does not exist", get("brew"), 404, ""),
        case(
            "a method that is not taken",
            server.client.delete(format!("{}/api/v1/query", server.url)).bearer_auth(&server.key),
            405,
            "",
        ),
        case("reading what is to be written", server.get("/api/v1/write"), 405, ""),
    ]
}
