//! The parsed query.

/// A parsed, type-checked query.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {}
