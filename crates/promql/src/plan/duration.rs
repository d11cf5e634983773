//! Durations to milliseconds.

use crate::ast::{BinaryOp, DurationExpr, DurationKind};
use crate::parser::Problem;

/// As for literals: what 64 bits of nanoseconds hold.
const MAX_SECONDS: f64 = 9_223_372_036.0;

/// The duration in whole milliseconds.
pub(super) fn resolve_ms(duration: &DurationExpr) -> Result<i64, Problem> {
    let seconds = seconds(duration)?;
    if seconds.is_nan() || seconds.abs() > MAX_SECONDS {
        return Err(Problem::new(duration.span, "duration out of range"));
    }
    // Through nanoseconds, as in Prometheus, which rounds there and cuts off here.
    Ok(((seconds * 1e9).round() / 1e6).trunc() as i64)
}

/// As [`resolve_ms`], for a range or a step, which must be above 0.
pub(super) fn resolve_positive_ms(duration: &DurationExpr) -> Result<i64, Problem> {
    let ms = resolve_ms(duration)?;
    if ms <= 0 {
        return Err(Problem::new(duration.span, "duration must be greater than 0"));
    }
    Ok(ms)
}

fn seconds(duration: &DurationExpr) -> Result<f64, Problem> {
    Ok(match &duration.kind {
        DurationKind::Literal(seconds) => *seconds,
        DurationKind::Negated(inner) => -seconds(inner)?,
        DurationKind::Paren(inner) => seconds(inner)?,
        DurationKind::Binary { op, lhs, rhs } => {
            let (a, b) = (seconds(lhs)?, seconds(rhs)?);
            match op {
                BinaryOp::Add => a + b,
                BinaryOp::Sub => a - b,
                BinaryOp::Mul => a * b,
                BinaryOp::Div if b == 0.0 => return Err(Problem::new(rhs.span, "division by zero")),
                BinaryOp::Div => a / b,
                BinaryOp::Mod if b == 0.0 => return Err(Problem::new(rhs.span, "modulo by zero")),
                BinaryOp::Mod => a % b,
                _ => a.powf(b),
            }
        }
    })
}
