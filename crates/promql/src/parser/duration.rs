//! Durations: literals, and arithmetic over them.

use super::{Parser, Problem, Result, literal, precedence};
use crate::ast::{BinaryOp, DurationExpr, DurationKind, Span};
use crate::lexer::Kind;

/// A sign binds like `*`.
const SIGN: u8 = super::POWER;

impl Parser<'_> {
    /// A duration inside brackets; a literal must be above 0.
    pub(super) fn positive_duration(&mut self, context: &str) -> Result<DurationExpr> {
        let duration = self.duration(0, 0, context)?;
        let literal = match &duration.kind {
            DurationKind::Literal(seconds) => Some(*seconds),
            DurationKind::Negated(inner) => match inner.kind {
                DurationKind::Literal(seconds) => Some(-seconds),
                _ => None,
            },
            _ => None,
        };
        if literal.is_some_and(|seconds| seconds <= 0.0) {
            return Err(Problem::new(duration.span, "duration must be greater than 0"));
        }
        Ok(duration)
    }

    /// The duration behind `offset`. Operators behind a literal belong to the expression around it, those behind
    /// parentheses to the duration, as in Prometheus's grammar.
    pub(super) fn offset_duration(&mut self) -> Result<DurationExpr> {
        const CONTEXT: &str = "offset";
        let start = self.token.span().start;
        let sign = match self.token.kind {
            Kind::Op(BinaryOp::Sub) => Some(true),
            Kind::Op(BinaryOp::Add) => Some(false),
            _ => None,
        };
        if sign.is_some() {
            self.advance()?;
        }
        let is_literal = matches!(self.token.kind, Kind::Number | Kind::Duration);
        let first = match sign {
            Some(_) if !is_literal => self.duration(SIGN, 1, CONTEXT)?,
            _ => self.duration_primary(0, CONTEXT)?,
        };
        let first = if sign == Some(true) { negated(start, first) } else { first };
        if is_literal { Ok(first) } else { self.duration_operations(first, 0, 0, CONTEXT) }
    }

    fn duration(&mut self, floor: u8, depth: usize, context: &str) -> Result<DurationExpr> {
        self.check_depth(depth)?;
        let lhs = self.duration_sign(depth, context)?;
        self.duration_operations(lhs, floor, depth, context)
    }

    /// The operators behind `lhs` that bind at least as tightly as `floor`, with their right operands.
    fn duration_operations(
        &mut self,
        mut lhs: DurationExpr,
        floor: u8,
        depth: usize,
        context: &str,
    ) -> Result<DurationExpr> {
        let mut levels = depth;
        while let Kind::Op(op) = self.token.kind {
            let precedence = precedence(op);
            if precedence < floor || op.is_comparison() || op.is_set() || op == BinaryOp::Atan2 {
                break;
            }
            levels += 1;
            self.check_depth(levels)?;
            self.advance()?;
            let floor = if op == BinaryOp::Pow { precedence } else { precedence + 1 };
            let rhs = self.duration(floor, depth + 1, context)?;
            if matches!(rhs.kind, DurationKind::Literal(0.0)) {
                match op {
                    BinaryOp::Div => return Err(Problem::new(rhs.span, "division by zero")),
                    BinaryOp::Mod => return Err(Problem::new(rhs.span, "modulo by zero")),
                    _ => {}
                }
            }
            let span = Span { start: lhs.span.start, end: rhs.span.end };
            lhs = DurationExpr {
                kind: DurationKind::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs) },
                span,
            };
        }
        Ok(lhs)
    }

    fn duration_sign(&mut self, depth: usize, context: &str) -> Result<DurationExpr> {
        let negative = match self.token.kind {
            Kind::Op(BinaryOp::Sub) => true,
            Kind::Op(BinaryOp::Add) => false,
            _ => return self.duration_primary(depth, context),
        };
        let start = self.advance()?.span().start;
        let inner = self.duration(SIGN, depth + 1, context)?;
        Ok(if negative { negated(start, inner) } else { inner })
    }

    fn duration_primary(&mut self, depth: usize, context: &str) -> Result<DurationExpr> {
        let token = self.token;
        match token.kind {
            Kind::Number | Kind::Duration => {
                let seconds = literal::number(&token)?.value;
                if !literal::fits_duration(seconds) {
                    return Err(Problem::new(token.span(), "duration out of range"));
                }
                self.advance()?;
                Ok(DurationExpr { kind: DurationKind::Literal(seconds), span: token.span() })
            }
            Kind::LeftParen => {
                self.advance()?;
                let inner = self.duration(0, depth + 1, context)?;
                if self.token.kind != Kind::RightParen {
                    return Err(self.unexpected(context, "\")\""));
                }
                let end = self.advance()?.span().end;
                let span = Span { start: token.span().start, end };
                Ok(DurationExpr { kind: DurationKind::Paren(Box::new(inner)), span })
            }
            _ => Err(self.unexpected(context, "number or duration")),
        }
    }
}

fn negated(start: u32, inner: DurationExpr) -> DurationExpr {
    let span = Span { start, end: inner.span.end };
    DurationExpr { kind: DurationKind::Negated(Box::new(inner)), span }
}
