//! Go's regular-expression syntax (RE2) in the words of the `regex` crate.
//!
//! The two are near: what differs is translated here, so that an expression means what it means to Prometheus. Source:
//! Go's `regexp/syntax` documentation.

/// Translates `pattern`. What neither knows is left for the compiler to refuse.
pub(super) fn to_rust(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    // A `]` right after `[` or `[^` is a literal.
    let mut class_start = false;
    while let Some(next) = rest.chars().next() {
        let at_class_start = class_start;
        class_start = false;
        match next {
            '\\' => {
                rest = escape(rest, in_class, &mut out);
                continue;
            }
            '[' if in_class => {
                if let Some(end) = posix_class(rest) {
                    out.push_str(&rest[..end]);
                    rest = &rest[end..];
                    continue;
                }
                out.push_str("\\[");
            }
            '[' => {
                in_class = true;
                class_start = true;
                out.push('[');
                if let Some(after) = rest[1..].strip_prefix('^') {
                    out.push('^');
                    rest = after;
                    continue;
                }
            }
            ']' if in_class && at_class_start => out.push_str("\\]"),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            // In a class these begin set operations of `regex`, which Go does not have.
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(next);
            }
            '-' if in_class && rest[1..].starts_with('-') => out.push_str("\\-"),
            '{' if !in_class && !is_repetition(rest) => out.push_str("\\{"),
            '}' if !in_class => {
                // The end of a repetition; a lone one is a literal in both.
                out.push('}');
            }
            other => out.push(other),
        }
        rest = &rest[next.len_utf8()..];
    }
    out
}

/// Translates the escape that `rest` starts with and returns what follows it.
fn escape<'a>(rest: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let after = &rest[1..];
    let Some(next) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let tail = &after[next.len_utf8()..];
    match next {
        'Q' => {
            let (text, tail) = tail.split_once("\\E").unwrap_or((tail, ""));
            for character in text.chars() {
                push_literal(character, out);
            }
            return tail;
        }
        // These are ASCII in Go.
        'd' => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        's' => out.push_str(if in_class { "\\t\\n\\f\\r " } else { "[\\t\\n\\f\\r ]" }),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        // A punctuation sign that is escaped is itself, also where `regex` gives the escape a meaning.
        '<' | '>' => push_literal(next, out),
        other => {
            out.push('\\');
            out.push(other);
        }
    }
    tail
}

fn push_literal(character: char, out: &mut String) {
    if regex_syntax::is_meta_character(character) {
        out.push('\\');
    }
    out.push(character);
}

/// The length of the `[:name:]` that `rest` starts with.
fn posix_class(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("[:")?;
    let end = body.find(":]")?;
    let name = &body[..end];
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'^').then_some(end + 4)
}

/// Whether `rest`, which starts with `{`, starts with a repetition such as `{2}`, `{2,}` or `{2,3}`.
fn is_repetition(rest: &str) -> bool {
    let Some(end) = rest.find('}') else { return false };
    let (low, high) = rest[1..end].split_once(',').unwrap_or((&rest[1..end], ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}
