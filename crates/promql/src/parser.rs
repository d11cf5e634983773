//! Tokens to a tree: a Pratt parser for expressions, with the type checker behind it.

use crate::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Cardinality, Expr, Node, NodeKind, NumberLiteral, Span,
    StringLiteral, VectorMatching,
};
use crate::lexer::{Kind, LexError, Lexer, Token};
use crate::limits::{MAX_EXPRESSION_DEPTH, MAX_QUERY_BYTES};
use crate::{Matcher, ParseError, functions};

mod check;
mod duration;
mod literal;
mod selector;

pub(crate) use literal::parse_duration_ms;

type Result<T> = std::result::Result<T, Problem>;

/// An error and the bytes it is about.
#[derive(Debug)]
pub(crate) struct Problem {
    message: String,
    span: Span,
}

impl Problem {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span }
    }

    pub(crate) fn locate(self, text: &str) -> ParseError {
        let (line, column) = line_and_column(text, self.span.start);
        ParseError { line, column, message: self.message, span: (self.span.start, self.span.end) }
    }
}

/// Line and column, both from 1, of a byte offset; the column counts bytes.
pub(crate) fn line_and_column(text: &str, offset: u32) -> (u32, u32) {
    let before = &text.as_bytes()[..text.len().min(offset as usize)];
    let line = before.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (line, (before.len() - line_start) as u32 + 1)
}

pub(crate) fn parse(text: &str) -> std::result::Result<Expr, ParseError> {
    parse_root(text).map(|root| Expr::new(root, text)).map_err(|problem| problem.locate(text))
}

fn parse_root(text: &str) -> Result<Node> {
    let mut parser = Parser::new(text)?;
    if parser.token.kind == Kind::End {
        return Err(Problem::new(Span::default(), "no expression found in input"));
    }
    let root = parser.expression(0, 0)?;
    if parser.token.kind != Kind::End {
        return Err(parser.unexpected("", ""));
    }
    check::check(&root, false)?;
    Ok(root)
}

/// Parses a selector alone, as `match[]` has it.
pub(crate) fn parse_matchers(text: &str) -> std::result::Result<Vec<Matcher>, ParseError> {
    let parse = || {
        let mut parser = Parser::new(text)?;
        let node = parser.vector_selector()?;
        if parser.token.kind != Kind::End {
            return Err(parser.unexpected("", ""));
        }
        check::check(&node, false)?;
        match node.kind {
            NodeKind::Vector(selector) => Ok(selector.matchers),
            _ => Ok(Vec::new()),
        }
    };
    parse().map_err(|problem: Problem| problem.locate(text))
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    /// Where the token before the current one ended.
    last_end: u32,
}

/// What an infix operator binds to.
const OR: u8 = 1;
const AND: u8 = 2;
const COMPARISON: u8 = 3;
const SUM: u8 = 4;
const PRODUCT: u8 = 5;
const POWER: u8 = 6;

fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => OR,
        BinaryOp::And | BinaryOp::Unless => AND,
        BinaryOp::Add | BinaryOp::Sub => SUM,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => PRODUCT,
        BinaryOp::Pow => POWER,
        _ => COMPARISON,
    }
}

impl From<LexError> for Problem {
    fn from(error: LexError) -> Self {
        let start = error.start as u32;
        Self::new(Span { start, end: start }, error.message)
    }
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self> {
        if text.len() > MAX_QUERY_BYTES {
            let message = format!("the query has {} bytes, more than {MAX_QUERY_BYTES}", text.len());
            return Err(Problem::new(Span::default(), message));
        }
        let mut lexer = Lexer::new(text);
        let token = lexer.next()?;
        Ok(Self { lexer, token, last_end: 0 })
    }

    /// Moves on and returns the token that was current.
    fn advance(&mut self) -> Result<Token<'a>> {
        let token = self.token;
        self.last_end = token.span().end;
        self.token = self.lexer.next()?;
        Ok(token)
    }

    fn eat(&mut self, kind: Kind) -> Result<bool> {
        let found = self.token.kind == kind;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn unexpected(&self, context: &str, expected: &str) -> Problem {
        let mut message = format!("unexpected {}", self.token.describe());
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        Problem::new(self.token.span(), message)
    }

    fn check_depth(&self, depth: usize) -> Result<()> {
        if depth > MAX_EXPRESSION_DEPTH {
            let message = format!("the expression nests deeper than {MAX_EXPRESSION_DEPTH} levels");
            return Err(Problem::new(self.token.span(), message));
        }
        Ok(())
    }

    /// An expression whose infix operators bind at least as tightly as `floor`.
    fn expression(&mut self, floor: u8, depth: usize) -> Result<Node> {
        self.check_depth(depth)?;
        let mut lhs = self.unary(depth)?;
        // Each operator makes the tree on the left one level deeper.
        let mut levels = depth;
        while let Kind::Op(op) = self.token.kind {
            let precedence = precedence(op);
            if precedence < floor {
                break;
            }
            levels += 1;
            self.check_depth(levels)?;
            lhs = self.binary(op, lhs, precedence, depth)?;
        }
        Ok(lhs)
    }

    fn binary(&mut self, op: BinaryOp, lhs: Node, precedence: u8, depth: usize) -> Result<Node> {
        self.advance()?;
        let return_bool = self.eat(Kind::Bool)?;
        let mut matching = VectorMatching {
            cardinality: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
        };
        if matches!(self.token.kind, Kind::On | Kind::Ignoring) {
            matching.on = self.advance()?.kind == Kind::On;
            matching.labels = self.grouping_labels()?;
            if matches!(self.token.kind, Kind::GroupLeft | Kind::GroupRight) {
                matching.cardinality = match self.advance()?.kind {
                    Kind::GroupLeft => Cardinality::ManyToOne,
                    _ => Cardinality::OneToMany,
                };
                if self.token.kind == Kind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        if op.is_set() && matching.cardinality == Cardinality::OneToOne {
            matching.cardinality = Cardinality::ManyToMany;
        }
        // `^` is the one operator that binds to the right.
        let floor = if op == BinaryOp::Pow { precedence } else { precedence + 1 };
        let rhs = self.expression(floor, depth + 1)?;
        let span = Span { start: lhs.span.start, end: rhs.span.end };
        let binary = Binary { op, lhs, rhs, return_bool, matching: Some(matching) };
        Ok(Node { kind: NodeKind::Binary(Box::new(binary)), span })
    }

    fn unary(&mut self, depth: usize) -> Result<Node> {
        let negative = match self.token.kind {
            Kind::Op(BinaryOp::Sub) => true,
            Kind::Op(BinaryOp::Add) => false,
            _ => return self.postfix(depth),
        };
        let start = self.advance()?.span().start;
        // A sign binds like `*`, so only `^` comes before it.
        let operand = self.expression(POWER, depth + 1)?;
        let span = Span { start, end: operand.span.end };
        if let NodeKind::Number(number) = operand.kind {
            let value = if negative { -number.value } else { number.value };
            return Ok(Node { kind: NodeKind::Number(NumberLiteral { value, ..number }), span });
        }
        Ok(Node { kind: NodeKind::Unary { negative, expr: Box::new(operand) }, span })
    }

    /// A primary expression with the ranges, offsets and `@` behind it.
    fn postfix(&mut self, depth: usize) -> Result<Node> {
        let mut node = self.primary(depth)?;
        let mut levels = depth;
        loop {
            node = match self.token.kind {
                Kind::LeftBracket => {
                    levels += 1;
                    self.check_depth(levels)?;
                    self.range_or_subquery(node)?
                }
                Kind::Offset => self.offset(node)?,
                Kind::At => self.at(node)?,
                _ => return Ok(node),
            };
        }
    }

    fn primary(&mut self, depth: usize) -> Result<Node> {
        let token = self.token;
        match token.kind {
            Kind::Number | Kind::Duration => {
                let number = literal::number(&token)?;
                self.advance()?;
                Ok(Node { kind: NodeKind::Number(number), span: token.span() })
            }
            Kind::String => {
                let text = StringLiteral(literal::unquote_bytes(&token)?);
                self.advance()?;
                Ok(Node { kind: NodeKind::String(text), span: token.span() })
            }
            Kind::LeftParen => {
                self.advance()?;
                let inner = self.expression(0, depth + 1)?;
                if self.token.kind != Kind::RightParen {
                    return Err(self.unexpected("", ""));
                }
                let end = self.advance()?.span().end;
                let span = Span { start: token.span().start, end };
                Ok(Node { kind: NodeKind::Paren(Box::new(inner)), span })
            }
            Kind::Aggregator(op) => {
                let name = self.advance()?;
                match self.token.kind {
                    Kind::LeftParen | Kind::By | Kind::Without => self.aggregation(op, name, depth),
                    Kind::LeftBrace
                    | Kind::LeftBracket
                    | Kind::RightParen
                    | Kind::Comma
                    | Kind::End
                    | Kind::Offset
                    | Kind::At
                    | Kind::Op(_) => self.named_selector(name),
                    _ => Err(self.unexpected("aggregation", "")),
                }
            }
            Kind::Identifier => {
                let name = self.advance()?;
                if self.token.kind == Kind::LeftParen {
                    return self.call(name, depth);
                }
                self.named_selector(name)
            }
            // These words are good metric names, too.
            Kind::MetricIdentifier
            | Kind::By
            | Kind::Without
            | Kind::Offset
            | Kind::Start
            | Kind::EndKeyword
            | Kind::Op(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless) => {
                let name = self.advance()?;
                self.named_selector(name)
            }
            Kind::LeftBrace => self.vector_selector(),
            _ => Err(self.unexpected("", "")),
        }
    }

    fn aggregation(&mut self, op: AggregateOp, name: Token<'a>, depth: usize) -> Result<Node> {
        let mut modifier = self.aggregate_modifier()?;
        if self.token.kind != Kind::LeftParen {
            return Err(self.unexpected("aggregation", ""));
        }
        let mut args = self.arguments(depth)?;
        if modifier.is_none() {
            modifier = self.aggregate_modifier()?;
        }
        let span = Span { start: name.span().start, end: self.last_end };
        let wanted = if op.has_param() { 2 } else { 1 };
        if args.is_empty() {
            return Err(Problem::new(span, "no arguments for aggregate expression provided"));
        }
        if args.len() != wanted {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                args.len()
            );
            return Err(Problem::new(span, message));
        }
        let (without, grouping) = modifier.unwrap_or_default();
        let param = if wanted == 2 { Some(args.remove(0)) } else { None };
        let aggregate = Aggregate { op, expr: args.remove(0), param, grouping, without };
        Ok(Node { kind: NodeKind::Aggregate(Box::new(aggregate)), span })
    }

    /// `by (…)` or `without (…)`: whether it is `without`, and the labels.
    fn aggregate_modifier(&mut self) -> Result<Option<(bool, Vec<String>)>> {
        if !matches!(self.token.kind, Kind::By | Kind::Without) {
            return Ok(None);
        }
        let without = self.advance()?.kind == Kind::Without;
        Ok(Some((without, self.grouping_labels()?)))
    }

    fn grouping_labels(&mut self) -> Result<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        if self.token.kind != Kind::LeftParen {
            return Err(self.unexpected(CONTEXT, "\"(\""));
        }
        self.advance()?;
        let mut labels = Vec::new();
        loop {
            if self.token.kind == Kind::RightParen {
                break;
            }
            let label = match self.token.kind {
                Kind::String => literal::unquote(&self.token)?,
                Kind::Identifier
                | Kind::Aggregator(_)
                | Kind::Bool
                | Kind::By
                | Kind::Without
                | Kind::On
                | Kind::Ignoring
                | Kind::GroupLeft
                | Kind::GroupRight
                | Kind::Offset
                | Kind::Start
                | Kind::EndKeyword
                | Kind::Op(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2) => {
                    self.token.text.to_owned()
                }
                _ => return Err(self.unexpected(CONTEXT, "label")),
            };
            if label.is_empty() {
                return Err(self.unexpected(CONTEXT, "label"));
            }
            self.advance()?;
            labels.push(label);
            match self.token.kind {
                Kind::RightParen => break,
                Kind::Comma => {
                    self.advance()?;
                }
                _ => return Err(self.unexpected(CONTEXT, "\",\" or \")\"")),
            }
        }
        self.advance()?;
        Ok(labels)
    }

    fn call(&mut self, name: Token<'a>, depth: usize) -> Result<Node> {
        let args = self.arguments(depth)?;
        let Some(function) = functions::function(name.text) else {
            let message = format!("unknown function with name {}", crate::quote(name.text));
            return Err(Problem::new(name.span(), message));
        };
        let span = Span { start: name.span().start, end: self.last_end };
        Ok(Node { kind: NodeKind::Call { function, args }, span })
    }

    /// `( … , … )`
    fn arguments(&mut self, depth: usize) -> Result<Vec<Node>> {
        self.advance()?;
        let mut args = Vec::new();
        if !self.eat(Kind::RightParen)? {
            loop {
                args.push(self.expression(0, depth + 1)?);
                match self.token.kind {
                    Kind::RightParen => break,
                    Kind::Comma => {
                        let comma = self.advance()?;
                        if self.token.kind == Kind::RightParen {
                            let message = "trailing commas not allowed in function call args";
                            return Err(Problem::new(comma.span(), message));
                        }
                    }
                    _ => return Err(self.unexpected("", "")),
                }
            }
            self.advance()?;
        }
        Ok(args)
    }

    fn at(&mut self, mut node: Node) -> Result<Node> {
        self.advance()?;
        let at = match self.token.kind {
            Kind::Start | Kind::EndKeyword => {
                let at = if self.advance()?.kind == Kind::Start { At::Start } else { At::End };
                if !self.eat(Kind::LeftParen)? || !self.eat(Kind::RightParen)? {
                    return Err(self.unexpected("@", "timestamp"));
                }
                at
            }
            _ => {
                let negative = match self.token.kind {
                    Kind::Op(BinaryOp::Sub) => self.advance().map(|_| true)?,
                    Kind::Op(BinaryOp::Add) => self.advance().map(|_| false)?,
                    _ => false,
                };
                if !matches!(self.token.kind, Kind::Number | Kind::Duration) {
                    return Err(self.unexpected("@", "timestamp"));
                }
                let seconds = literal::number(&self.token)?.value;
                let seconds = if negative { -seconds } else { seconds };
                let ms = seconds * 1_000.0;
                if !seconds.is_finite() || ms.abs() >= i64::MAX as f64 {
                    let message =
                        format!("timestamp out of bounds for @ modifier: {}", crate::number::fixed(seconds));
                    return Err(Problem::new(node.span, message));
                }
                self.advance()?;
                At::Timestamp(ms.round() as i64)
            }
        };
        let span = node.span;
        let Some(modifiers) = selector::modifiers_of(&mut node) else {
            let message = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(Problem::new(span, message));
        };
        if modifiers.at.is_some() {
            return Err(Problem::new(span, "@ <timestamp> may not be set multiple times"));
        }
        modifiers.at = Some(at);
        node.span.end = self.last_end;
        Ok(node)
    }
}

#[cfg(test)]
mod tests;
