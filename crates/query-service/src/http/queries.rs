//! `query`, `query_range`, `format_query`, `parse_query`: PromQL.

use promql::Window;

use super::params::{Params, invalid};
use super::response::{self, Sink, Stats, Wanted};
use crate::engine::{Deadline, Query, QueryEngine, RequestOptions};
use crate::error::QueryError;
use crate::limits::{MAX_PARSED_QUERY_BYTES, MAX_POINTS};
use tenancy::Tenant;

/// `GET|POST /api/v1/query`: `query`, `time`, and what [`common`] reads.
pub(super) async fn query(
    engine: &QueryEngine,
    tenant: &Tenant,
    params: &Params,
    sink: Sink,
) -> Result<(), QueryError> {
    let at_ms = params.time_ms("time")?.unwrap_or_else(|| engine.now_ms());
    run(engine, tenant, params, Window::instant(at_ms), sink).await
}

/// `GET|POST /api/v1/query_range`: `query`, `start`, `end`, `step`, and what [`common`] reads.
pub(super) async fn query_range(
    engine: &QueryEngine,
    tenant: &Tenant,
    params: &Params,
    sink: Sink,
) -> Result<(), QueryError> {
    params.required("start")?;
    params.required("end")?;
    params.required("step")?;
    let start_ms = params.time_ms("start")?.unwrap_or_default();
    let end_ms = params.time_ms("end")?.unwrap_or_default();
    let step_ms = params.duration_ms("step")?.unwrap_or_default();
    if end_ms < start_ms {
        return Err(invalid("end", "end timestamp must not be before start timestamp"));
    }
    if step_ms <= 0 {
        return Err(invalid(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if end_ms.saturating_sub(start_ms) / step_ms > MAX_POINTS {
        return Err(QueryError::BadRequest(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
                .to_owned(),
        ));
    }
    run(engine, tenant, params, Window { start_ms, end_ms, step_ms }, sink).await
}

async fn run(
    engine: &QueryEngine,
    tenant: &Tenant,
    params: &Params,
    window: Window,
    sink: Sink,
) -> Result<(), QueryError> {
    let stats = match params.get("stats") {
        None => Stats::None,
        Some("all") => Stats::All,
        Some(_) => Stats::Some,
    };
    let wanted = Wanted { stats, limit: params.count("limit")? };
    let query = Query {
        options: common(params)?,
        count_per_step: stats != Stats::None,
        lookback_ms: params.duration_ms("lookback_delta")?.filter(|lookback_ms| *lookback_ms > 0),
        expr: promql::parse(params.get("query").unwrap_or_default())?,
        window,
    };
    let finish = move |answer, deadline: &Deadline| response::answer(sink, deadline, answer, wanted);
    engine.query_then(tenant, query, finish).await
}

/// `timeout` and `provisional`: what every request for data may have.
pub(super) fn common(params: &Params) -> Result<RequestOptions, QueryError> {
    Ok(RequestOptions { timeout: params.timeout()?, with_provisional: params.flag("provisional", true)? })
}

/// `GET|POST /api/v1/format_query`: `query`.
pub(super) fn format_query(params: &Params, sink: Sink) -> Result<(), QueryError> {
    let pretty = promql::format_query(params.get("query").unwrap_or_default())?;
    sink.short(|json| json.string(&pretty))
}

/// `GET|POST /api/v1/parse_query`: `query`.
pub(super) fn parse_query(params: &Params, sink: Sink) -> Result<(), QueryError> {
    let query = params.get("query").unwrap_or_default();
    if query.len() > MAX_PARSED_QUERY_BYTES {
        return Err(invalid("query", format!("it is longer than {MAX_PARSED_QUERY_BYTES} bytes")));
    }
    let tree = promql::parse_query_json(query)?;
    sink.short(|json| json.raw(&tree.to_string()))
}
