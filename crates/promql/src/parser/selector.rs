//! Selectors, ranges, subqueries and offsets.

use telemetry::METRIC_NAME;

use super::{Parser, Problem, Result, literal};
use crate::ast::{MatrixSelector, Modifiers, Node, NodeKind, Span, Subquery, VectorSelector};
use crate::lexer::{Kind, Token};
use crate::{MatchOp, Matcher};

const CONTEXT: &str = "label matching";

/// Where `offset` and `@` of a node go, for nodes that can have them.
pub(super) fn modifiers_of(node: &mut Node) -> Option<&mut Modifiers> {
    match &mut node.kind {
        NodeKind::Vector(selector) => Some(&mut selector.modifiers),
        NodeKind::Matrix(matrix) => Some(&mut matrix.selector.modifiers),
        NodeKind::Subquery(subquery) => Some(&mut subquery.modifiers),
        _ => None,
    }
}

impl<'a> Parser<'a> {
    /// A selector whose name token was just taken.
    pub(super) fn named_selector(&mut self, name: Token<'a>) -> Result<Node> {
        let mut matchers = Vec::new();
        let mut span = name.span();
        if self.token.kind == Kind::LeftBrace {
            (matchers, span.end) = self.braces()?;
        }
        matchers.push(Matcher::equal(METRIC_NAME, name.text));
        let name = Some(name.text.to_owned());
        Ok(Node {
            kind: NodeKind::Vector(Box::new(VectorSelector {
                name,
                matchers,
                modifiers: Modifiers::default(),
            })),
            span,
        })
    }

    /// A selector that may or may not have a name before its braces.
    pub(super) fn vector_selector(&mut self) -> Result<Node> {
        if self.token.kind != Kind::LeftBrace {
            if !matches!(self.token.kind, Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregator(_)) {
                return Err(self.unexpected("", ""));
            }
            let name = self.advance()?;
            return self.named_selector(name);
        }
        let start = self.token.span().start;
        let (matchers, end) = self.braces()?;
        let selector = VectorSelector { name: None, matchers, modifiers: Modifiers::default() };
        Ok(Node { kind: NodeKind::Vector(Box::new(selector)), span: Span { start, end } })
    }

    /// `{ … }`: the matchers and where the braces end.
    fn braces(&mut self) -> Result<(Vec<Matcher>, u32)> {
        self.advance()?;
        let mut matchers = Vec::new();
        while self.token.kind != Kind::RightBrace {
            matchers.push(self.label_matcher()?);
            match self.token.kind {
                Kind::RightBrace => {}
                Kind::Comma => {
                    self.advance()?;
                }
                _ => return Err(self.unexpected(CONTEXT, "\",\" or \"}\"")),
            }
        }
        let end = self.advance()?.span().end;
        Ok((matchers, end))
    }

    fn label_matcher(&mut self) -> Result<Matcher> {
        let name_token = self.token;
        let name = match name_token.kind {
            Kind::Identifier => name_token.text.to_owned(),
            Kind::String => literal::unquote(&name_token)?,
            _ => return Err(self.unexpected(CONTEXT, "identifier or \"}\"")),
        };
        self.advance()?;
        let op = match self.token.kind {
            Kind::Assign => MatchOp::Equal,
            Kind::Op(crate::ast::BinaryOp::NotEqual) => MatchOp::NotEqual,
            Kind::RegexMatch => MatchOp::Regex,
            Kind::RegexMismatch => MatchOp::NotRegex,
            // A quoted name alone is the metric's.
            Kind::Comma | Kind::RightBrace if name_token.kind == Kind::String => {
                return Ok(Matcher::equal(METRIC_NAME, &name));
            }
            _ => return Err(self.unexpected(CONTEXT, "label matching operator")),
        };
        self.advance()?;
        if self.token.kind != Kind::String {
            return Err(self.unexpected(CONTEXT, "string"));
        }
        let value = literal::unquote(&self.token)?;
        let span = Span { start: name_token.span().start, end: self.token.span().end };
        if name.is_empty() {
            return Err(Problem::new(span, "a label matcher has an empty label name"));
        }
        self.advance()?;
        Matcher::new(&name, op, &value).map_err(|error| Problem::new(span, error.to_string()))
    }

    /// `[range]` or `[range:step]` behind `node`.
    pub(super) fn range_or_subquery(&mut self, node: Node) -> Result<Node> {
        let open = self.advance()?;
        if matches!(self.token.kind, Kind::RightBracket | Kind::Colon) {
            return Err(self.unexpected("subquery selector", "number or duration"));
        }
        let range = self.positive_duration("subquery selector")?;
        match self.token.kind {
            Kind::RightBracket => {
                let close = self.advance()?;
                let brackets = Span { start: open.span().start, end: close.span().end };
                let span = Span { start: node.span.start, end: close.span().end };
                let NodeKind::Vector(selector) = node.kind else {
                    return Err(Problem::new(brackets, "ranges only allowed for vector selectors"));
                };
                if selector.modifiers.offset.is_some() {
                    return Err(Problem::new(brackets, "no offset modifiers allowed before range"));
                }
                if selector.modifiers.at.is_some() {
                    return Err(Problem::new(brackets, "no @ modifiers allowed before range"));
                }
                let matrix = MatrixSelector { selector: *selector, selector_span: node.span, range };
                Ok(Node { kind: NodeKind::Matrix(Box::new(matrix)), span })
            }
            Kind::Colon => {
                self.advance()?;
                let step = match self.token.kind {
                    Kind::RightBracket => None,
                    _ => Some(self.positive_duration("subquery selector")?),
                };
                if self.token.kind != Kind::RightBracket {
                    return Err(self.unexpected("subquery selector", "\"]\""));
                }
                let end = self.advance()?.span().end;
                let span = Span { start: node.span.start, end };
                let subquery = Subquery { expr: node, range, step, modifiers: Modifiers::default() };
                Ok(Node { kind: NodeKind::Subquery(Box::new(subquery)), span })
            }
            _ => Err(self.unexpected("subquery or range", "\":\" or \"]\"")),
        }
    }

    pub(super) fn offset(&mut self, mut node: Node) -> Result<Node> {
        self.advance()?;
        let offset = self.offset_duration()?;
        let span = node.span;
        let Some(modifiers) = modifiers_of(&mut node) else {
            let message = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(Problem::new(span, message));
        };
        if modifiers.offset.is_some() {
            return Err(Problem::new(span, "offset may not be set multiple times"));
        }
        modifiers.offset = Some(offset);
        node.span.end = self.last_end;
        Ok(node)
    }
}
