//! The parsed query: a type-checked tree with the place of each part in the text.

use std::fmt;
use std::sync::Arc;

use crate::functions::Function;
use crate::{Matcher, printer};

/// A parsed, type-checked query. Cheap to clone.
#[derive(Clone)]
pub struct Expr {
    root: Arc<Node>,
    text: Arc<str>,
}

impl Expr {
    pub(crate) fn new(root: Node, text: &str) -> Self {
        Self { root: Arc::new(root), text: text.into() }
    }

    /// The top of the tree.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The text that was parsed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the query evaluates to.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        self.root.value_type()
    }

    pub(crate) fn depth(&self) -> usize {
        self.root.depth()
    }
}

impl fmt::Display for Expr {
    /// The query on one line, in Prometheus's canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.root, f)
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number a step.
    Scalar,
    /// A text.
    String,
    /// Series with at most one sample a step.
    Vector,
    /// Series with the samples of a time range.
    Matrix,
}

impl ValueType {
    /// As Prometheus names the type in its documentation and errors.
    #[must_use]
    pub const fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }

    /// As Prometheus's HTTP API names the type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }
}

/// Where a part stands in the text: byte offsets, the end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

/// One part of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Where it stands.
    pub span: Span,
}

/// What a part of a query is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// A number.
    Number(NumberLiteral),
    /// A string.
    String(StringLiteral),
    /// An instant-vector selector.
    Vector(Box<VectorSelector>),
    /// A range-vector selector.
    Matrix(Box<MatrixSelector>),
    /// A subquery.
    Subquery(Box<Subquery>),
    /// A function call.
    Call {
        /// The function.
        function: &'static Function,
        /// Its arguments.
        args: Vec<Node>,
    },
    /// An aggregation.
    Aggregate(Box<Aggregate>),
    /// A binary operation.
    Binary(Box<Binary>),
    /// A sign in front of an expression.
    Unary {
        /// Whether the sign is `-`.
        negative: bool,
        /// What it stands in front of.
        expr: Box<Node>,
    },
    /// An expression in parentheses.
    Paren(Box<Node>),
}

/// A string in the text. Escapes can make bytes of it that are not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringLiteral(pub(crate) Vec<u8>);

impl StringLiteral {
    /// The text, unless it is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text, with what is not UTF-8 replaced.
    #[must_use]
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Display for StringLiteral {
    /// In double quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for chunk in self.0.utf8_chunks() {
            let quoted = crate::quote(chunk.valid());
            f.write_str(&quoted[1..quoted.len() - 1])?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_str("\"")
    }
}

/// A number in the text.
#[derive(Clone, Copy, Debug)]
pub struct NumberLiteral {
    /// The value; that of a duration is in seconds.
    pub value: f64,
    /// Whether it was written as a duration (`5m`).
    pub is_duration: bool,
}

impl PartialEq for NumberLiteral {
    fn eq(&self, other: &Self) -> bool {
        self.value.to_bits() == other.value.to_bits() && self.is_duration == other.is_duration
    }
}

/// An instant-vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The metric name, where it stands before the braces; it is among the matchers, too.
    pub name: Option<String>,
    /// The matchers, in the order of the text, the name's last.
    pub matchers: Vec<Matcher>,
    /// `@` and `offset`.
    pub modifiers: Modifiers,
}

/// A range-vector selector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// Which series, and at what time.
    pub selector: VectorSelector,
    /// Place of the selector without the range.
    pub selector_span: Span,
    /// The width of the range.
    pub range: DurationExpr,
}

/// A subquery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// What is evaluated at each of its steps.
    pub expr: Node,
    /// The width of the range.
    pub range: DurationExpr,
    /// The distance of its steps; the default when not said.
    pub step: Option<DurationExpr>,
    /// `@` and `offset`.
    pub modifiers: Modifiers,
}

/// The time modifiers of a selector or a subquery.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Modifiers {
    /// `offset`.
    pub offset: Option<DurationExpr>,
    /// `@`.
    pub at: Option<At>,
}

/// The argument of `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A fixed time (ms since the Unix epoch).
    Timestamp(i64),
    /// The query's first step.
    Start,
    /// The query's end.
    End,
}

/// A duration, possibly calculated.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub span: Span,
}

/// What a duration is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationKind {
    /// A duration or a number of seconds.
    Literal(f64),
    /// `-` in front (a `+` leaves no trace).
    Negated(Box<DurationExpr>),
    /// Arithmetic: `+ - * / % ^`.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left operand.
        lhs: Box<DurationExpr>,
        /// Right operand.
        rhs: Box<DurationExpr>,
    },
    /// In parentheses.
    Paren(Box<DurationExpr>),
}

impl DurationExpr {
    /// Whether it is arithmetic, which is experimental.
    #[must_use]
    pub fn is_calculated(&self) -> bool {
        match &self.kind {
            DurationKind::Literal(_) => false,
            DurationKind::Negated(inner) => !matches!(inner.kind, DurationKind::Literal(_)),
            DurationKind::Binary { .. } | DurationKind::Paren(_) => true,
        }
    }
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Node,
    /// The parameter of those operators that have one.
    pub param: Option<Node>,
    /// The labels of `by` or `without`.
    pub grouping: Vec<String>,
    /// Whether it is `without`.
    pub without: bool,
}

/// Aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `avg`
    Avg,
    /// `bottomk`
    Bottomk,
    /// `count`
    Count,
    /// `count_values`
    CountValues,
    /// `group`
    Group,
    /// `limitk`
    Limitk,
    /// `limit_ratio`
    LimitRatio,
    /// `max`
    Max,
    /// `min`
    Min,
    /// `quantile`
    Quantile,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `sum`
    Sum,
    /// `topk`
    Topk,
}

impl AggregateOp {
    /// Every operator.
    pub const ALL: [Self; 14] = [
        Self::Avg,
        Self::Bottomk,
        Self::Count,
        Self::CountValues,
        Self::Group,
        Self::Limitk,
        Self::LimitRatio,
        Self::Max,
        Self::Min,
        Self::Quantile,
        Self::Stddev,
        Self::Stdvar,
        Self::Sum,
        Self::Topk,
    ];

    /// As PromQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Bottomk => "bottomk",
            Self::Count => "count",
            Self::CountValues => "count_values",
            Self::Group => "group",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
            Self::Max => "max",
            Self::Min => "min",
            Self::Quantile => "quantile",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Sum => "sum",
            Self::Topk => "topk",
        }
    }

    /// Whether it has a parameter before the expression.
    #[must_use]
    pub const fn has_param(self) -> bool {
        matches!(
            self,
            Self::Bottomk | Self::CountValues | Self::Limitk | Self::LimitRatio | Self::Quantile | Self::Topk
        )
    }

    /// Whether it is experimental in Prometheus 3.5.
    #[must_use]
    pub const fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left operand.
    pub lhs: Node,
    /// Right operand.
    pub rhs: Node,
    /// Whether a comparison answers 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// How elements find each other; means nothing unless both operands are vectors.
    pub matching: Option<VectorMatching>,
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// As PromQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// Whether it compares.
    #[must_use]
    pub const fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual
        )
    }

    /// Whether it is `and`, `or` or `unless`.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// How the elements of two vectors find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorMatching {
    /// How many may match how many.
    pub cardinality: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether it is `on`.
    pub on: bool,
    /// The labels of `group_left` or `group_right`, taken over from the "one" side.
    pub include: Vec<String>,
}

/// How many elements of the left side may match how many of the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// The default.
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

impl Cardinality {
    /// As Prometheus's HTTP API names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::ManyToMany => "many-to-many",
        }
    }
}

impl Node {
    /// What it evaluates to.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            NodeKind::Number(_) => ValueType::Scalar,
            NodeKind::String(_) => ValueType::String,
            NodeKind::Vector(_) | NodeKind::Aggregate(_) => ValueType::Vector,
            NodeKind::Matrix(_) | NodeKind::Subquery(_) => ValueType::Matrix,
            NodeKind::Call { function, .. } => function.returns,
            NodeKind::Binary(binary) => {
                let scalars = binary.lhs.value_type() == ValueType::Scalar
                    && binary.rhs.value_type() == ValueType::Scalar;
                if scalars { ValueType::Scalar } else { ValueType::Vector }
            }
            NodeKind::Unary { expr, .. } | NodeKind::Paren(expr) => expr.value_type(),
        }
    }

    /// The parts it is made of, in the order of the text.
    #[must_use]
    pub fn children(&self) -> Vec<&Node> {
        match &self.kind {
            NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Vector(_) | NodeKind::Matrix(_) => {
                Vec::new()
            }
            NodeKind::Subquery(subquery) => vec![&subquery.expr],
            NodeKind::Call { args, .. } => args.iter().collect(),
            NodeKind::Aggregate(aggregate) => {
                aggregate.param.iter().chain(std::iter::once(&aggregate.expr)).collect()
            }
            NodeKind::Binary(binary) => vec![&binary.lhs, &binary.rhs],
            NodeKind::Unary { expr, .. } | NodeKind::Paren(expr) => vec![expr],
        }
    }

    /// How many levels the tree has.
    pub(crate) fn depth(&self) -> usize {
        1 + self.children().into_iter().map(Self::depth).max().unwrap_or(0)
    }

    /// The node without parentheses around it.
    #[must_use]
    pub fn unwrap_parens(&self) -> &Node {
        let mut node = self;
        while let NodeKind::Paren(inner) = &node.kind {
            node = inner;
        }
        node
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printer::one_line(self))
    }
}
