use crate::{format_query, parse};

fn error(query: &str) -> String {
    parse(query).unwrap_err().to_string()
}

#[test]
fn errors_are_worded_and_placed_as_in_prometheus() {
    for (query, expected) in [
        ("", "1:1: parse error: no expression found in input"),
        ("1 +", "1:4: parse error: unexpected end of input"),
        ("(1", "1:3: parse error: unclosed left parenthesis"),
        ("foo{a=1}", "1:7: parse error: unexpected character inside braces: '1'"),
        ("foo{a}", "1:6: parse error: unexpected \"}\" in label matching, expected label matching operator"),
        ("foo{a=b}", "1:7: parse error: unexpected identifier \"b\" in label matching, expected string"),
        ("foo[5m", "1:7: parse error: unexpected end of input in duration expression"),
        (
            "sum some_metric by (test)",
            "1:5: parse error: unexpected identifier \"some_metric\" in aggregation",
        ),
        (
            "sum(a) by test",
            "1:11: parse error: unexpected identifier \"test\" in grouping opts, expected \"(\"",
        ),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        (
            "topk(a)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        ("nope(a)", "1:1: parse error: unknown function with name \"nope\""),
        (
            "rate(a)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        ("floor()", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 0"),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("1 and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("foo{__name__=\"bar\"}", "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\""),
        ("a[5m] offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        ("a @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("(a + b)[5m]", "1:8: parse error: ranges only allowed for vector selectors"),
        ("a[0s]", "1:3: parse error: duration must be greater than 0"),
        ("a offset", "1:9: parse error: unexpected end of input in offset, expected number or duration"),
        (
            "a offset (1m) + b",
            "1:17: parse error: unexpected identifier \"b\" in offset, expected number or duration",
        ),
        ("\n\n  a b", "3:5: parse error: unexpected identifier \"b\""),
        ("rate(a[5m],)", "1:11: parse error: trailing commas not allowed in function call args"),
        ("a)", "1:2: parse error: unexpected right parenthesis ')'"),
        (
            "a + on(b) group_left(b) c",
            "1:3: parse error: label \"b\" must not occur in ON and GROUP clause at once",
        ),
    ] {
        assert_eq!(error(query), expected, "{query}");
    }
}

#[test]
fn printed_queries_are_canonical() {
    for (query, expected) in [
        ("SUM BY(a)(b)", "sum by (a) (b)"),
        ("sum(b)without()", "sum without () (b)"),
        ("-1^2", "-1 ^ 2"),
        ("2^3^4", "2 ^ 3 ^ 4"),
        ("foo{b='x',a=~\"y\"}[1h30m]offset-5m", "foo{a=~\"y\",b=\"x\"}[1h30m] offset -5m"),
        ("foo @ 10", "foo @ 10.000"),
        ("foo @ start() offset 1s", "foo @ start() offset 1s"),
        ("rate(foo[1m:])[5m:10s]", "rate(foo[1m:])[5m:10s]"),
        ("foo offset 1m + 2", "foo offset 1m + 2"),
        ("foo offset -1m ^ 2", "foo offset -1m ^ 2"),
        ("foo offset (1m + 2)/2", "foo offset (1m + 2s) / 2s"),
        ("{\"metric.name\", \"label.name\"=\"x\"}", "{\"label.name\"=\"x\",\"metric.name\"}"),
        ("a*on(x)group_left(y)b", "a * on (x) group_left (y) b"),
        ("a == bool 5m", "a == bool 5m"),
        ("topk(5,foo)", "topk(5, foo)"),
        ("foo[60*30]", "foo[1m * 30s]"),
        ("1e3", "1000"),
        ("foo offset (1m+2m)", "foo offset (1m + 2m)"),
        ("by + offset", "by + offset"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("'a\\x41\\u00e9\\n'", "\"aAé\\n\""),
    ] {
        let printed = parse(query).unwrap().to_string();
        assert_eq!(printed, expected, "{query}");
        assert_eq!(parse(&printed).unwrap().to_string(), expected, "{query}, printed and parsed");
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    for (query, same) in [
        ("a + b * c", "a + (b * c)"),
        ("a or b and c", "a or (b and c)"),
        ("a > b + c", "a > (b + c)"),
        ("-a ^ b", "-(a ^ b)"),
        ("-a * b", "(-a) * b"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("a - b - c", "(a - b) - c"),
        ("a offset 100 + 2", "(a offset 100) + 2"),
        ("a unless b or c", "(a unless b) or c"),
    ] {
        let shape = |text: &str| format!("{:?}", strip(parse(text).unwrap().root()));
        assert_eq!(shape(query), shape(same), "{query}");
    }
}

/// A text of the tree without parentheses and places.
fn strip(node: &crate::ast::Node) -> String {
    let node = node.unwrap_parens();
    let children: Vec<String> = node.children().into_iter().map(strip).collect();
    if children.is_empty() {
        return node.to_string();
    }
    let head = match &node.kind {
        crate::ast::NodeKind::Binary(binary) => binary.op.as_str().to_owned(),
        crate::ast::NodeKind::Unary { .. } => "neg".to_owned(),
        other => format!("{:?}", std::mem::discriminant(other)),
    };
    format!("({head} {})", children.join(" "))
}

#[test]
fn long_queries_are_split_over_lines() {
    let query = "sum by (very_long_label_name, another_long_label_name) (rate(some_quite_long_metric_name_total{label=\"value\"}[5m])) / 2";
    let pretty = format_query(query).unwrap();
    assert!(pretty.lines().count() > 2, "{pretty}");
    assert_eq!(parse(&pretty).unwrap().to_string(), parse(query).unwrap().to_string());
}

#[test]
fn deep_nesting_ends_with_an_error() {
    for query in [
        "(".repeat(100_000),
        format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        "-".repeat(100_000),
        format!("1{}", " + 1".repeat(100_000)),
        format!("1{}", "^1".repeat(100_000)),
        format!("a[1s{}]", "+1s".repeat(100_000)),
        format!("a[{}1s]", "-".repeat(100_000)),
        format!("a{}", "[1m:1m]".repeat(100_000)),
        format!("{}1{}", "abs(".repeat(10_000), ")".repeat(10_000)),
    ] {
        assert!(error(&query).contains("nests deeper than"), "{}", error(&query));
    }
}
