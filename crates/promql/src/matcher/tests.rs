use super::*;

fn regex(pattern: &str) -> Matcher {
    Matcher::new("l", MatchOp::Regex, pattern).unwrap()
}

#[test]
fn alternatives_become_literals() {
    let cases: [(&str, &[&str]); 7] = [
        ("a", &["a"]),
        ("a|b|c", &["a", "b", "c"]),
        ("foo(bar|baz)?", &["foo", "foobar", "foobaz"]),
        ("(api|web)-[12]", &["api-1", "api-2", "web-1", "web-2"]),
        ("", &[""]),
        (r"10\.0\.0\.1", &["10.0.0.1"]),
        (r"\Qa.b\E", &["a.b"]),
    ];
    for (pattern, expected) in cases {
        assert_eq!(regex(pattern).as_literals().unwrap(), expected, "{pattern}");
    }
    assert_eq!(regex("a.*").as_literals(), None);
}

#[test]
fn rewritten_patterns_match_as_the_regular_expression_does() {
    let patterns = [
        "",
        "a",
        "a|b",
        "(?i)ab",
        ".*",
        ".+",
        "a.*",
        "a.+",
        ".*a",
        ".+a",
        "a.*b",
        ".*a.*",
        "x.*a.*b",
        ".+a.*",
        "a|.+b",
        "(a|b)c.*",
        "[ab]{2}",
        "ab?",
        "a{",
        "[[]",
        r"\d+",
        "(a.*|b)",
        "a.?b",
        "(.*)a(.*)",
        "x{2,}",
    ];
    let texts = [
        "", "a", "b", "ab", "AB", "aab", "ba", "xab", "xaab", "a\nb", "bb", "ac", "bcd", "é", "a{", "[",
        "12", "x", "xx",
    ];
    for pattern in patterns {
        let reference = compile_anchored(pattern).unwrap();
        for text in texts {
            assert_eq!(regex(pattern).matches(text), reference.is_match(text), "{pattern:?} on {text:?}");
        }
    }
}

#[test]
fn prefixes_are_known() {
    assert_eq!(regex("abc.*").prefix(), "abc");
    assert_eq!(regex("abc[0-9]+x").prefix(), "abc");
    assert_eq!(regex("(abd|abc)[0-9]+x").prefix(), "ab");
    assert_eq!(regex(".*abc").prefix(), "");
    assert_eq!(Matcher::equal("l", "v").prefix(), "v");
}

#[test]
fn negative_matchers_hold_where_the_pattern_does_not() {
    let not = Matcher::new("l", MatchOp::NotRegex, "a|b").unwrap();
    assert!(!not.matches("a"));
    assert!(not.matches("c"));
    assert!(not.matches_empty());
    assert!(!Matcher::new("l", MatchOp::NotEqual, "").unwrap().matches_empty());
}

#[test]
fn wildcards_are_recognised() {
    assert!(regex(".*").matches_everything());
    assert!(regex("(.*)").matches_everything());
    assert!(regex(".+").matches_everything_but_empty());
    assert!(!regex("a.*").matches_everything());
}

#[test]
fn go_syntax_keeps_its_meaning() {
    for (pattern, text, expected) in [
        (r"\d", "٣", false),
        (r"[^\d]", "٣", true),
        (r"\w+", "é", false),
        ("[a&&b]", "&", true),
        ("[]a]", "]", true),
        ("[^]a]", "b", true),
        ("{x}", "{x}", true),
        ("[[:alpha:]]+", "ab", true),
        ("a{2}", "aa", true),
        (r"a\-b\/c", "a-b/c", true),
        (r"\<a\>", "<a>", true),
    ] {
        assert_eq!(regex(pattern).matches(text), expected, "{pattern} on {text}");
    }
}

#[test]
fn hostile_patterns_are_refused_or_cheap() {
    assert!(Matcher::new("l", MatchOp::Regex, "((a{1000}){1000}){1000}").is_err());
    assert!(Matcher::new("l", MatchOp::Regex, &"(".repeat(10_000)).is_err());
    assert!(Matcher::new("l", MatchOp::Regex, "a(").is_err());
    assert!(!regex("(a+)+b").matches(&"a".repeat(50_000)));
}
