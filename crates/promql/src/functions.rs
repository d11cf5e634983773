//! The functions that PromQL has, as the type checker sees them.

use crate::ast::ValueType;
use ValueType::{Matrix, Scalar, String, Vector};

/// A function's signature.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments; the last one stands for all that follow.
    pub args: &'static [ValueType],
    /// 0: as many arguments as types. n > 0: the last is optional and may come n times. -1: any number of times.
    pub variadic: i8,
    /// What it returns.
    pub returns: ValueType,
    /// Whether it is experimental in Prometheus 3.5.
    pub experimental: bool,
}

/// The function called `name`.
#[must_use]
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|candidate| candidate.name.cmp(name)).ok().map(|index| &FUNCTIONS[index])
}

/// Every function, in ascending order of names.
#[must_use]
pub fn functions() -> &'static [Function] {
    FUNCTIONS
}

const fn plain(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, variadic: 0, returns, experimental: false }
}

const fn variadic(name: &'static str, args: &'static [ValueType], variadic: i8) -> Function {
    Function { name, args, variadic, returns: Vector, experimental: false }
}

const fn experimental(name: &'static str, args: &'static [ValueType], variadic: i8) -> Function {
    Function { name, args, variadic, returns: Vector, experimental: true }
}

static FUNCTIONS: &[Function] = &[
    plain("abs", &[Vector], Vector),
    plain("absent", &[Vector], Vector),
    plain("absent_over_time", &[Matrix], Vector),
    plain("acos", &[Vector], Vector),
    plain("acosh", &[Vector], Vector),
    plain("asin", &[Vector], Vector),
    plain("asinh", &[Vector], Vector),
    plain("atan", &[Vector], Vector),
    plain("atanh", &[Vector], Vector),
    plain("avg_over_time", &[Matrix], Vector),
    plain("ceil", &[Vector], Vector),
    plain("changes", &[Matrix], Vector),
    plain("clamp", &[Vector, Scalar, Scalar], Vector),
    plain("clamp_max", &[Vector, Scalar], Vector),
    plain("clamp_min", &[Vector, Scalar], Vector),
    plain("cos", &[Vector], Vector),
    plain("cosh", &[Vector], Vector),
    plain("count_over_time", &[Matrix], Vector),
    variadic("day_of_month", &[Vector], 1),
    variadic("day_of_week", &[Vector], 1),
    variadic("day_of_year", &[Vector], 1),
    variadic("days_in_month", &[Vector], 1),
    plain("deg", &[Vector], Vector),
    plain("delta", &[Matrix], Vector),
    plain("deriv", &[Matrix], Vector),
    experimental("double_exponential_smoothing", &[Matrix, Scalar, Scalar], 0),
    plain("exp", &[Vector], Vector),
    plain("floor", &[Vector], Vector),
    plain("histogram_avg", &[Vector], Vector),
    plain("histogram_count", &[Vector], Vector),
    plain("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    plain("histogram_quantile", &[Scalar, Vector], Vector),
    plain("histogram_stddev", &[Vector], Vector),
    plain("histogram_stdvar", &[Vector], Vector),
    plain("histogram_sum", &[Vector], Vector),
    variadic("hour", &[Vector], 1),
    plain("idelta", &[Matrix], Vector),
    plain("increase", &[Matrix], Vector),
    experimental("info", &[Vector, Vector], 1),
    plain("irate", &[Matrix], Vector),
    variadic("label_join", &[Vector, String, String, String], -1),
    plain("label_replace", &[Vector, String, String, String, String], Vector),
    plain("last_over_time", &[Matrix], Vector),
    plain("ln", &[Vector], Vector),
    plain("log10", &[Vector], Vector),
    plain("log2", &[Vector], Vector),
    experimental("mad_over_time", &[Matrix], 0),
    plain("max_over_time", &[Matrix], Vector),
    plain("min_over_time", &[Matrix], Vector),
    variadic("minute", &[Vector], 1),
    variadic("month", &[Vector], 1),
    plain("pi", &[], Scalar),
    plain("predict_linear", &[Matrix, Scalar], Vector),
    plain("present_over_time", &[Matrix], Vector),
    plain("quantile_over_time", &[Scalar, Matrix], Vector),
    plain("rad", &[Vector], Vector),
    plain("rate", &[Matrix], Vector),
    plain("resets", &[Matrix], Vector),
    variadic("round", &[Vector, Scalar], 1),
    plain("scalar", &[Vector], Scalar),
    plain("sgn", &[Vector], Vector),
    plain("sin", &[Vector], Vector),
    plain("sinh", &[Vector], Vector),
    plain("sort", &[Vector], Vector),
    experimental("sort_by_label", &[Vector, String], -1),
    experimental("sort_by_label_desc", &[Vector, String], -1),
    plain("sort_desc", &[Vector], Vector),
    plain("sqrt", &[Vector], Vector),
    plain("stddev_over_time", &[Matrix], Vector),
    plain("stdvar_over_time", &[Matrix], Vector),
    plain("sum_over_time", &[Matrix], Vector),
    plain("tan", &[Vector], Vector),
    plain("tanh", &[Vector], Vector),
    plain("time", &[], Scalar),
    plain("timestamp", &[Vector], Vector),
    experimental("ts_of_last_over_time", &[Matrix], 0),
    experimental("ts_of_max_over_time", &[Matrix], 0),
    experimental("ts_of_min_over_time", &[Matrix], 0),
    plain("vector", &[Scalar], Vector),
    variadic("year", &[Vector], 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found() {
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for function in FUNCTIONS {
            assert_eq!(super::function(function.name), Some(function));
        }
        assert_eq!(super::function("nope"), None);
    }
}
