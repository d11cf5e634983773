//! `series`, `labels`, `label/{name}/values`, `metadata`, `query_exemplars`: what there is.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use promql::{Matcher, Window};
use telemetry::{Metadata, Series, order_by_labels};
use tenancy::Tenant;

use super::params::{MAX_TIME_MS, MIN_TIME_MS, Params, invalid, unescape_label_name};
use super::queries::common;
use super::response::{Sink, TRUNCATED, reading_ahead};
use crate::cardinality::Cardinality;
use crate::engine::{Deadline, QueryEngine};
use crate::error::QueryError;
use crate::limits::{BRIEF_SERIES, BRIEF_SERIES_QUICKLY, BRIEF_VALUES, MAX_LABEL_RESULTS, MAX_SELECTORS};
use crate::source::{Needs, Scope, TenantSource};
use crate::tail::Having;
use crate::texts::Texts;

/// What the label APIs have in common.
struct Lookup {
    time_range_ms: (i64, i64),
    /// A series counts when it fulfils all of one of these; with none of them every series does.
    selectors: Vec<Vec<Matcher>>,
    limit: usize,
}

impl Lookup {
    fn parse(params: &Params) -> Result<Self, QueryError> {
        let start_ms = params.time_ms("start")?.unwrap_or(MIN_TIME_MS);
        let end_ms = params.time_ms("end")?.unwrap_or(MAX_TIME_MS);
        if end_ms < start_ms {
            return Err(invalid("end", "end timestamp must not be before start timestamp"));
        }
        let mut selectors = Vec::new();
        for text in params.all("match[]") {
            if selectors.len() == MAX_SELECTORS {
                return Err(invalid("match[]", format!("more than {MAX_SELECTORS} selectors")));
            }
            selectors.push(promql::parse_matchers(text).map_err(|error| invalid("match[]", error))?);
        }
        let limit = params.count("limit")?.unwrap_or(MAX_LABEL_RESULTS).min(MAX_LABEL_RESULTS);
        Ok(Self { time_range_ms: (start_ms, end_ms), selectors, limit })
    }

    fn scope(&self, needs: Needs, with_provisional: bool) -> Scope {
        Scope { time_range_ms: self.time_range_ms, with_provisional, needs }
    }
}

/// Runs `work`, which finds texts, and writes the first of them; in passing where `is_brief` says so.
async fn texts(
    engine: &QueryEngine,
    tenant: &Tenant,
    params: &Params,
    sink: Sink,
    is_brief: impl FnOnce(&TenantSource, &Lookup) -> bool,
    work: impl FnOnce(&TenantSource, &Lookup, &Deadline) -> Result<Texts, QueryError> + Send + 'static,
) -> Result<(), QueryError> {
    let lookup = Arc::new(Lookup::parse(params)?);
    let options = common(params)?;
    let scope = lookup.scope(Needs::Labels, options.with_provisional);
    let of = Arc::clone(&lookup);
    let is_brief = move |source: &TenantSource| is_brief(source, &of);
    engine
        .run(tenant, scope, options, is_brief, move |source, deadline, _| {
            let mut texts = work(&source, &lookup, deadline)?;
            texts.settle();
            let mut warnings = source.warnings();
            if texts.len() > lookup.limit {
                warnings.push(TRUNCATED.to_owned());
            }
            sink.success(deadline, &warnings, &[], |writer| {
                writer.list(texts.iter().take(lookup.limit), |json, text| json.string(text))
            })
        })
        .await
}

/// `GET|POST /api/v1/labels`: `match[]`, `start`, `end`, `limit`.
pub(super) async fn labels(
    engine: &QueryEngine,
    tenant: &Tenant,
    params: &Params,
    sink: Sink,
) -> Result<(), QueryError> {
    let is_brief = |source: &TenantSource, lookup: &Lookup| {
        source.is_brief_lookup(&lookup.selectors, BRIEF_SERIES_QUICKLY, lookup.time_range_ms)
    };
    texts(engine, tenant, params, sink, is_brief, |source, lookup, deadline| {
        let mut names = Texts::default();
        if lookup.selectors.is_empty() {
            source.for_each_label_name(lookup.time_range_ms, |name| names.add(name));
        } else {
            for selector in &lookup.selectors {
                let flow = source.for_each_name_set(selector, lookup.time_range_ms, |set| {
                    set.for_each(|name| names.add(name));
                    if deadline.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                if flow.is_break() {
                    return Err(deadline.error("looking up labels"));
                }
            }
        }
        Ok(names)
    })
    .await
}

/// `GET /api/v1/label/{name}/values`: `match[]`, `start`, `end`, `limit`.
pub(super) async fn label_values(
    engine: &QueryEngine,
    tenant: &Tenant,
    params: &Params,
    name: &str,
    sink: Sink,
) -> Result<(), QueryError> {
    let name = unescape_label_name(name).into_owned();
    if name.is_empty() {
        return Err(QueryError::BadRequest(format!("invalid label name: {name:?}")));
    }
    let of = name.clone();
    let is_brief = move |source: &TenantSource, lookup: &Lookup| {
        source.is_brief_lookup(&lookup.selectors, BRIEF_SERIES, lookup.time_range_ms)
            && (!lookup.selectors.is_empty() || source.most_values(&of) <= BRIEF_VALUES)
    };
    texts(engine, tenant, params, sink, is_brief, move |source, lookup, deadline| {
        let mut values = Texts::default();
        if lookup.selectors.is_empty() {
            source.for_each_label_value(&name, lookup.time_range_ms, |value| values.add(value));
        } else {
            for_each_series(source, lookup, deadline, |series| {
                if let Some(value) = series.labels().get(&name) {
                    values.add(value);
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(values)
    })
    .await
}

/// Series between two looks at the clock.
const SERIES_A_LOOK: usize = 1024;

/// Calls `each` with every series that a selector finds, several times, in no order, until it breaks off.
fn for_each_series(
    source: &TenantSource,
    lookup: &Lookup,
    deadline: &Deadline,
    mut each: impl FnMut(&Arc<Series>) -> ControlFlow<()>,
) -> Result<(), QueryError> {
    for selector in &lookup.selectors {
        let (mut looked_at, mut is_late) = (0, false);
        let flow = source.for_each_series(selector, lookup.time_range_ms, |series| {
            looked_at += 1;
            is_late = looked_at % SERIES_A_LOOK == 0 && deadline.is_over();
            if is_late { ControlFlow::Break(()) } else { each(series) }
        });
        if is_late {
            return Err(deadline.error("looking up labels"));
        }
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

/// Series, each once, and no more of them than a limit needs.
struct Distinct {
    found: Vec<Arc<Series>>,
    limit: usize,
    /// With so many, doubles are taken out.
    settled_at: usize,
}

impl Distinct {
    fn new(limit: usize) -> Self {
        Self { found: Vec::new(), limit, settled_at: limit.saturating_add(1) }
    }

    /// Breaks off once there are more than the limit.
    fn add(&mut self, series: &Arc<Series>) -> ControlFlow<()> {
        self.found.push(Arc::clone(series));
        if self.found.len() >= self.settled_at {
            self.settle();
            if self.found.len() > self.limit {
                return ControlFlow::Break(());
            }
            // Often enough to end soon, and seldom enough to cost little.
            self.settled_at = self.settled_at.max(2 * self.found.len());
        }
        ControlFlow::Continue(())
    }

    /// Puts them in order of their labels, each once.
    fn settle(&mut self) {
        let order = order_by_labels(&self.found, |series| series);
        let mut found: Vec<Option<Arc<Series>>> =
            std::mem::take(&mut self.found).into_iter().map(Some).collect();
        self.found = order.into_iter().filter_map(|place| found[place as usize].take()).collect();
        self.found.dedup();
    }
}

/// `GET|POST /api/v1/series`: `match[]` (at least one), `start`, `end`, `limit`.
pub(super) async fn series(
    engine: &QueryEngine,
    tenant: &Tenant,
    params: &Params,
    sink: Sink,
) -> Result<(), QueryError> {
    let lookup = Arc::new(Lookup::parse(params)?);
    if lookup.selectors.is_empty() {
        return Err(QueryError::BadRequest("no match[] parameter provided".to_owned()));
    }
    let options = common(params)?;
    let scope = lookup.scope(Needs::Labels, options.with_provisional);
    let of = Arc::clone(&lookup);
    let is_brief =
        move |source: &TenantSource| source.is_brief_lookup(&of.selectors, BRIEF_SERIES, of.time_range_ms);
    engine
        .run(tenant, scope, options, is_brief, move |source, deadline, _| {
            let mut distinct = Distinct::new(lookup.limit);
            for_each_series(&source, &lookup, deadline, |series| distinct.add(series))?;
            distinct.settle();
            let mut warnings = source.warnings();
            if distinct.found.len() > lookup.limit {
                warnings.push(TRUNCATED.to_owned());
            }
            sink.success(deadline, &warnings, &[], |writer| {
                distinct.found.truncate(lookup.limit);
                let shown = reading_ahead(distinct.found, |series| series.labels());
                writer.list(shown, |json, series| json.labels(series.labels()))
            })
        })
        .await
}

/// For requests that are seldom made and may be much work.
fn never_brief(_: &TenantSource) -> bool {
    false
}

/// `GET /api/v1/metadata`: `metric`, `limit`, `limit_per_metric`.
pub(super) async fn metadata(
    engine: &Arc<QueryEngine>,
    tenant: &Tenant,
    params: &Params,
    sink: Sink,
) -> Result<(), QueryError> {
    let limit = params.count("limit")?.unwrap_or(usize::MAX);
    params.count("limit_per_metric")?;
    let only = params.get("metric").map(str::to_owned);
    let (of, id) = (Arc::clone(engine), tenant.id.clone());
    engine
        .run(tenant, overview(true), common(params)?, never_brief, move |source, deadline, _| {
            let is_wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
            let at_rest = source.metadata().into_iter().filter(|(name, _)| is_wanted(name));
            let mut wanted: BTreeMap<String, Metadata> =
                at_rest.map(|(name, metadata)| (name.to_owned(), metadata.clone())).collect();
            // Copied, so that no writer has to wait for the client.
            of.tail().metadata(&id, |newest| {
                let newest = newest.iter().filter(|(name, _)| is_wanted(name));
                wanted.extend(newest.map(|(name, (_, metadata))| (name.clone(), metadata.clone())));
            });
            sink.success(deadline, &source.warnings(), &[], |writer| {
                writer.json.raw("{");
                for (place, (name, metadata)) in wanted.into_iter().take(limit).enumerate() {
                    if place > 0 {
                        writer.json.raw(",");
                    }
                    writer.json.string(&name);
                    writer.json.raw(":[{\"type\":");
                    writer.json.string(metadata.metric_type.as_str());
                    writer.json.raw(",\"help\":");
                    writer.json.string(&metadata.help);
                    writer.json.raw(",\"unit\":");
                    writer.json.string(&metadata.unit);
                    writer.json.raw("}]");
                    writer.part_done()?;
                }
                writer.json.raw("}");
                Ok(())
            })
        })
        .await
}

/// What the newest data says about itself. The time range is empty: of fresh segments the tail alone counts.
const fn overview(with_provisional: bool) -> Scope {
    Scope { time_range_ms: (1, 0), with_provisional, needs: Needs::Overview }
}

/// `GET|POST /api/v1/query_exemplars`: `query`, `start`, `end`.
pub(super) async fn query_exemplars(
    engine: &QueryEngine,
    tenant: &Tenant,
    params: &Params,
    sink: Sink,
) -> Result<(), QueryError> {
    let start_ms = params.time_ms("start")?.unwrap_or(MIN_TIME_MS);
    let end_ms = params.time_ms("end")?.unwrap_or(MAX_TIME_MS);
    if end_ms < start_ms {
        return Err(invalid("end", "end timestamp must not be before start timestamp"));
    }
    let expr = promql::parse(params.required("query")?)?;
    // The selectors of the query, whatever is done with them, decide which series' exemplars are shown.
    let plan = promql::plan(&expr, Window::instant(end_ms), &promql::EvalOptions::default())?;
    let selectors: Vec<Vec<Matcher>> = plan.selections().iter().map(|each| each.matchers.clone()).collect();
    let lookup = Lookup { time_range_ms: (start_ms, end_ms), selectors, limit: MAX_LABEL_RESULTS };
    let options = common(params)?;
    let selectors = lookup.selectors.as_slice().into();
    let scope = lookup.scope(Needs::Exemplars(selectors), options.with_provisional);
    engine
        .run(tenant, scope, options, never_brief, move |source, deadline, _| {
            let mut found = BTreeMap::new();
            for selector in &lookup.selectors {
                let selected = source.select(selector, Having::Exemplars, lookup.time_range_ms);
                for index in 0..selected.len() {
                    if index % SERIES_A_LOOK == 0 && deadline.is_over() {
                        return Err(deadline.error("looking up exemplars"));
                    }
                    let exemplars = selected.exemplars(index);
                    if !exemplars.is_empty() && found.len() < lookup.limit {
                        found.insert(selected.labels(index).clone(), exemplars);
                    }
                }
            }
            sink.success(deadline, &source.warnings(), &[], |writer| {
                writer.list(&found, |json, (labels, exemplars)| {
                    json.raw("{\"seriesLabels\":");
                    json.labels(labels);
                    json.raw(",\"exemplars\":");
                    json.list(exemplars, |json, exemplar| {
                        json.raw("{\"labels\":");
                        json.labels(&exemplar.labels);
                        json.raw(",\"value\":");
                        json.float(exemplar.value);
                        json.raw(",\"timestamp\":");
                        json.timestamp(exemplar.timestamp_ms);
                        json.raw("}");
                    });
                    json.raw("}");
                })
            })
        })
        .await
}

/// `GET /api/v1/status/tsdb`: `limit` (10 if not given). What takes how much of the tail, so that costly labels are found.
pub(super) async fn cardinality(
    engine: &QueryEngine,
    tenant: &Tenant,
    params: &Params,
    sink: Sink,
) -> Result<(), QueryError> {
    let limit = params.count("limit")?.unwrap_or(10).min(MAX_LABEL_RESULTS);
    let options = common(params)?;
    let scope = overview(options.with_provisional);
    engine
        .run(tenant, scope, options, never_brief, move |source, _, _| {
            let top = Cardinality::of(&source, limit);
            sink.short(|json| {
                json.raw("{\"headStats\":{\"numSeries\":");
                json.number(top.series);
                json.raw(",\"numLabelPairs\":");
                json.number(top.label_pairs);
                json.raw("}");
                for (name, counts) in [
                    ("seriesCountByMetricName", &top.series_by_metric),
                    ("labelValueCountByLabelName", &top.values_by_label),
                    ("memoryInBytesByLabelName", &top.bytes_by_label),
                    ("seriesCountByLabelValuePair", &top.series_by_pair),
                ] {
                    json.raw(",");
                    json.string(name);
                    json.raw(":");
                    json.list(counts, |json, (name, count)| {
                        json.raw("{\"name\":");
                        json.string(name);
                        json.raw(",\"value\":");
                        json.number(*count);
                        json.raw("}");
                    });
                }
                json.raw("}");
            })
        })
        .await
}
