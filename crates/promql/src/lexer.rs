//! Text to tokens, on demand: what a character means depends on the brackets around it.

use crate::ast::{AggregateOp, BinaryOp, Span};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    End,
    Identifier,
    /// An identifier with a colon in it.
    MetricIdentifier,
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Assign,
    /// `=~`
    RegexMatch,
    /// `!~`
    RegexMismatch,
    At,
    Op(BinaryOp),
    Aggregator(AggregateOp),
    Offset,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Bool,
    Start,
    EndKeyword,
}

/// A token and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) start: usize,
}

impl Token<'_> {
    pub(crate) fn span(&self) -> Span {
        Span { start: self.start as u32, end: (self.start + self.text.len()) as u32 }
    }

    /// How errors speak of the token.
    pub(crate) fn describe(&self) -> String {
        match self.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Identifier => format!("identifier {}", crate::quote(self.text)),
            Kind::MetricIdentifier => format!("metric identifier {}", crate::quote(self.text)),
            Kind::Number => format!("number {}", shortened(self.text)),
            Kind::Duration => format!("duration {}", shortened(self.text)),
            Kind::String => format!("string {}", shortened(self.text)),
            Kind::Op(_) | Kind::RegexMatch | Kind::RegexMismatch | Kind::At => format!("<op:{}>", self.text),
            Kind::Aggregator(_) => format!("<aggr:{}>", self.text),
            Kind::Offset
            | Kind::By
            | Kind::Without
            | Kind::On
            | Kind::Ignoring
            | Kind::GroupLeft
            | Kind::GroupRight
            | Kind::Bool => format!("<{}>", self.text),
            _ => crate::quote(self.text),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(10) {
        Some((end, _)) => format!("{}...", crate::quote(&text[..end])),
        None => crate::quote(text),
    }
}

/// A text that has no tokens at some place.
#[derive(Clone, Debug)]
pub(crate) struct LexError {
    pub(crate) message: String,
    pub(crate) start: usize,
}

pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    paren_depth: u32,
    in_braces: bool,
    in_brackets: bool,
    got_colon: bool,
    got_duration: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            paren_depth: 0,
            in_braces: false,
            in_brackets: false,
            got_colon: false,
            got_duration: false,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_spaces_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(is_space);
            self.at += rest.len() - trimmed.len();
            // Inside brackets `#` is no comment.
            if self.in_brackets || !trimmed.starts_with('#') {
                return;
            }
            let end = trimmed.find(['\n', '\r']).unwrap_or(trimmed.len());
            self.at += end;
        }
    }

    fn token(&mut self, kind: Kind, start: usize) -> Token<'a> {
        Token { kind, text: &self.text[start..self.at], start }
    }

    fn error<T>(&self, start: usize, message: impl Into<String>) -> Result<T, LexError> {
        Err(LexError { message: message.into(), start })
    }

    /// The next token; [`Kind::End`] again and again at the end.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, LexError> {
        self.skip_spaces_and_comments();
        let start = self.at;
        let Some(first) = self.peek() else {
            if self.in_braces {
                return self.error(start, "unexpected end of input inside braces");
            }
            if self.in_brackets {
                return self.error(start, "unexpected end of input in duration expression");
            }
            if self.paren_depth != 0 {
                return self.error(start, "unclosed left parenthesis");
            }
            return Ok(self.token(Kind::End, start));
        };
        if first == '"' || first == '\'' || first == '`' {
            return if self.in_brackets {
                self.error(start, format!("unexpected character in duration expression: {}", rune(first)))
            } else {
                self.string(first)
            };
        }
        if self.in_braces {
            return self.inside_braces(first);
        }
        if self.in_brackets {
            return self.inside_brackets(first);
        }
        self.statement(first)
    }

    fn statement(&mut self, first: char) -> Result<Token<'a>, LexError> {
        let start = self.at;
        if first.is_ascii_digit() || (first == '.' && self.second_is_digit()) {
            return self.number_or_duration();
        }
        if is_alpha(first) || first == ':' {
            return Ok(self.keyword_or_identifier());
        }
        self.at += first.len_utf8();
        let kind = match first {
            ',' => Kind::Comma,
            '@' => Kind::At,
            '(' => {
                self.paren_depth += 1;
                Kind::LeftParen
            }
            ')' => {
                let Some(depth) = self.paren_depth.checked_sub(1) else {
                    return self.error(start, "unexpected right parenthesis ')'");
                };
                self.paren_depth = depth;
                Kind::RightParen
            }
            '{' => {
                self.in_braces = true;
                Kind::LeftBrace
            }
            '[' => {
                self.in_brackets = true;
                self.got_colon = false;
                self.got_duration = false;
                Kind::LeftBracket
            }
            ']' => return self.error(start, "unexpected right bracket ']'"),
            '=' => match self.peek() {
                Some('=') => {
                    self.at += 1;
                    Kind::Op(BinaryOp::Equal)
                }
                Some('~') => return self.error(start, "unexpected character after '=': '~'"),
                _ => Kind::Assign,
            },
            '!' => match self.peek() {
                Some('=') => {
                    self.at += 1;
                    Kind::Op(BinaryOp::NotEqual)
                }
                other => {
                    return self
                        .error(start, format!("unexpected character after '!': {}", maybe_rune(other)));
                }
            },
            '<' | '>' => {
                let or_equal = self.peek() == Some('=');
                self.at += usize::from(or_equal);
                Kind::Op(match (first, or_equal) {
                    ('<', false) => BinaryOp::Less,
                    ('<', true) => BinaryOp::LessEqual,
                    (_, false) => BinaryOp::Greater,
                    (_, true) => BinaryOp::GreaterEqual,
                })
            }
            other => match arithmetic(other) {
                Some(op) => Kind::Op(op),
                None => return self.error(start, format!("unexpected character: {}", rune(other))),
            },
        };
        Ok(self.token(kind, start))
    }

    fn inside_braces(&mut self, first: char) -> Result<Token<'a>, LexError> {
        let start = self.at;
        if is_alpha(first) {
            self.skip_while(is_alphanumeric);
            return Ok(self.token(Kind::Identifier, start));
        }
        self.at += first.len_utf8();
        let kind = match first {
            ',' => Kind::Comma,
            '=' => {
                let regex = self.peek() == Some('~');
                self.at += usize::from(regex);
                if regex { Kind::RegexMatch } else { Kind::Assign }
            }
            '!' => match self.peek() {
                Some('~') => {
                    self.at += 1;
                    Kind::RegexMismatch
                }
                Some('=') => {
                    self.at += 1;
                    Kind::Op(BinaryOp::NotEqual)
                }
                other => {
                    let message =
                        format!("unexpected character after '!' inside braces: {}", maybe_rune(other));
                    return self.error(start, message);
                }
            },
            '{' => return self.error(start, "unexpected left brace '{'"),
            '}' => {
                self.in_braces = false;
                Kind::RightBrace
            }
            other => {
                return self.error(start, format!("unexpected character inside braces: {}", rune(other)));
            }
        };
        Ok(self.token(kind, start))
    }

    fn inside_brackets(&mut self, first: char) -> Result<Token<'a>, LexError> {
        let start = self.at;
        if first.is_ascii_digit() || (first == '.' && self.second_is_digit()) {
            self.got_duration = true;
            return self.number_or_duration();
        }
        self.at += first.len_utf8();
        let kind = match first {
            ']' => {
                self.in_brackets = false;
                Kind::RightBracket
            }
            ':' if !self.got_duration => {
                return self.error(start, "unexpected colon before duration in duration expression");
            }
            ':' if self.got_colon => {
                return self.error(start, "unexpected repeated colon in duration expression");
            }
            ':' => {
                self.got_colon = true;
                Kind::Colon
            }
            '(' => {
                self.paren_depth += 1;
                Kind::LeftParen
            }
            ')' => {
                let Some(depth) = self.paren_depth.checked_sub(1) else {
                    return self.error(start, "unexpected right parenthesis ')'");
                };
                self.paren_depth = depth;
                Kind::RightParen
            }
            other => match arithmetic(other) {
                Some(op) => Kind::Op(op),
                None => {
                    let message = format!("unexpected character in duration expression: {}", rune(other));
                    return self.error(start, message);
                }
            },
        };
        Ok(self.token(kind, start))
    }

    fn second_is_digit(&self) -> bool {
        self.rest().as_bytes().get(1).is_some_and(u8::is_ascii_digit)
    }

    fn skip_while(&mut self, good: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(good).len();
    }

    fn keyword_or_identifier(&mut self) -> Token<'a> {
        let start = self.at;
        self.skip_while(|character| is_alphanumeric(character) || character == ':');
        let word = &self.text[start..self.at];
        let kind = match keyword(&word.to_ascii_lowercase()) {
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        };
        self.token(kind, start)
    }

    fn string(&mut self, quote: char) -> Result<Token<'a>, LexError> {
        let start = self.at;
        self.at += 1;
        let raw = quote == '`';
        loop {
            let Some(next) = self.peek() else {
                let message = if raw { "unterminated raw string" } else { "unterminated quoted string" };
                return self.error(start, message);
            };
            self.at += next.len_utf8();
            match next {
                _ if next == quote => return Ok(self.token(Kind::String, start)),
                '\n' if !raw => return self.error(start, "unterminated quoted string"),
                '\\' if !raw => {
                    let Some(escaped) = self.peek() else {
                        return self.error(start, "escape sequence not terminated");
                    };
                    if !matches!(
                        escaped,
                        'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | 'x' | 'u' | 'U' | '0'..='7'
                    ) && escaped != quote
                    {
                        let message =
                            format!("unknown escape sequence U+{:04X} {}", u32::from(escaped), rune(escaped));
                        return self.error(start, message);
                    }
                    self.at += escaped.len_utf8();
                }
                _ => {}
            }
        }
    }

    fn number_or_duration(&mut self) -> Result<Token<'a>, LexError> {
        let start = self.at;
        if self.scan_number() {
            return Ok(self.token(Kind::Number, start));
        }
        if self.scan_rest_of_duration() {
            return Ok(self.token(Kind::Duration, start));
        }
        let end = (self.at + self.peek().map_or(0, char::len_utf8)).min(self.text.len());
        let message = format!("bad number or duration syntax: {}", crate::quote(&self.text[start..end]));
        self.error(start, message)
    }

    /// Moves past a number as Go writes it; says no where something else follows without a gap.
    fn scan_number(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
        let hex = byte(self.at) == b'0' && matches!(byte(self.at + 1), b'x' | b'X');
        if hex {
            self.at += 2;
        }
        let is_digit = |byte: u8| if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
        let (mut dot, mut exponent) = (false, false);
        loop {
            let next = byte(self.at);
            if is_digit(next) {
                self.at += 1;
            } else if next == b'.' {
                // A hexadecimal number has no fraction.
                if dot || exponent || hex || matches!(byte(self.at + 1), b'_' | b'.') {
                    return false;
                }
                dot = true;
                self.at += 1;
            } else if !hex && matches!(next, b'e' | b'E') {
                if exponent {
                    return false;
                }
                let sign = usize::from(matches!(byte(self.at + 1), b'+' | b'-'));
                if !byte(self.at + 1 + sign).is_ascii_digit() {
                    return false;
                }
                exponent = true;
                self.at += 1 + sign;
            } else if next == b'_' {
                if !is_digit(byte(self.at + 1)) {
                    return false;
                }
                self.at += 1;
            } else {
                break;
            }
        }
        !self.peek().is_some_and(is_alphanumeric)
    }

    /// Moves past what follows the first digits of a duration: a unit, then digits and units.
    fn scan_rest_of_duration(&mut self) -> bool {
        if !self.accept("smhdwy") {
            return false;
        }
        self.accept("s");
        while self.peek().is_some_and(|next| next.is_ascii_digit()) {
            self.skip_while(|next| next.is_ascii_digit());
            if !self.accept("smhdw") {
                return false;
            }
            self.accept("s");
        }
        !self.peek().is_some_and(is_alphanumeric)
    }

    fn accept(&mut self, valid: &str) -> bool {
        let found = self.peek().is_some_and(|next| valid.contains(next));
        self.at += usize::from(found);
        found
    }
}

fn arithmetic(character: char) -> Option<BinaryOp> {
    Some(match character {
        '+' => BinaryOp::Add,
        '-' => BinaryOp::Sub,
        '*' => BinaryOp::Mul,
        '/' => BinaryOp::Div,
        '%' => BinaryOp::Mod,
        '^' => BinaryOp::Pow,
        _ => return None,
    })
}

fn keyword(word: &str) -> Option<Kind> {
    Some(match word {
        "and" => Kind::Op(BinaryOp::And),
        "or" => Kind::Op(BinaryOp::Or),
        "unless" => Kind::Op(BinaryOp::Unless),
        "atan2" => Kind::Op(BinaryOp::Atan2),
        "offset" => Kind::Offset,
        "by" => Kind::By,
        "without" => Kind::Without,
        "on" => Kind::On,
        "ignoring" => Kind::Ignoring,
        "group_left" => Kind::GroupLeft,
        "group_right" => Kind::GroupRight,
        "bool" => Kind::Bool,
        "start" => Kind::Start,
        "end" => Kind::EndKeyword,
        "inf" | "nan" => Kind::Number,
        _ => Kind::Aggregator(AggregateOp::ALL.into_iter().find(|op| op.as_str() == word)?),
    })
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(character: char) -> bool {
    character == '_' || character.is_ascii_alphabetic()
}

fn is_alphanumeric(character: char) -> bool {
    is_alpha(character) || character.is_ascii_digit()
}

/// A character as Go quotes it.
fn rune(character: char) -> String {
    match character {
        '\'' => "'\\''".to_owned(),
        '\\' => "'\\\\'".to_owned(),
        control if control.is_control() => format!("'\\x{:02x}'", u32::from(control)),
        other => format!("'{other}'"),
    }
}

/// As [`rune`]; the end of the text is Go's "invalid rune".
fn maybe_rune(character: Option<char>) -> String {
    character.map_or_else(|| "'\u{fffd}'".to_owned(), rune)
}
