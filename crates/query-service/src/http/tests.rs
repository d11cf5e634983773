use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use futures::FutureExt;
use http_body_util::BodyExt;
use segment_store::testing::MemoryBucket;
use segment_store::{Bucket, FlushOutcome, TailOffer, TailSink};
use serde_json::{Value, json};
use telemetry::{Exemplar, ExemplarRow, FloatRow, Labels, Metadata, MetricBatch, MetricRows, MetricType};
use tenancy::Limits;
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::limits::{MAX_FORM_BYTES, MAX_PARSED_QUERY_BYTES};
use crate::tail::{Tail, TailSettings};
use crate::testing::{NOW_MS, always_caught_up, directory, engine, segment, series, store, tenant_id, up};
use crate::{Outcome, QuerySettings};

/// A shard with tenants `acme` and `rival`, who may read, and `writer`, who may not.
struct Shard {
    router: Router,
    engine: Arc<QueryEngine>,
    tail: Arc<Tail>,
    bucket: Arc<dyn Bucket>,
    keys: Vec<String>,
}

const ACME: usize = 0;
const RIVAL: usize = 1;
const WRITER: usize = 2;

impl Shard {
    fn new() -> Self {
        Self::with(Limits::default(), QuerySettings::default(), always_caught_up(), TailSettings::default())
    }

    fn with(
        limits: Limits,
        settings: QuerySettings,
        caught_up: watch::Receiver<bool>,
        tail: TailSettings,
    ) -> Self {
        Self::warming_up(limits, settings, (caught_up.clone(), caught_up), tail)
    }

    fn warming_up(
        limits: Limits,
        settings: QuerySettings,
        (caught_up, warm): (watch::Receiver<bool>, watch::Receiver<bool>),
        tail: TailSettings,
    ) -> Self {
        let tail = Arc::new(Tail::new(tail));
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let engine = Arc::new(engine(&tail, Arc::clone(&bucket), (caught_up, warm), settings));
        let (access, keys) = directory(&[
            ("acme", limits, Scope::MetricsRead),
            ("rival", Limits::default(), Scope::MetricsRead),
            ("writer", Limits::default(), Scope::MetricsWrite),
        ]);
        let router = router(HttpParts { engine: Arc::clone(&engine), access });
        Self { router, engine, tail, bucket, keys }
    }

    /// What a flush does, up to its end.
    fn offer(&self, number: i64, tenant: &str, batch: MetricBatch) {
        let partitions = vec![(tenant_id(tenant), Arc::new(batch))];
        self.tail.offer(TailOffer { segment: segment(number), partitions });
    }

    fn write(&self, number: i64, tenant: &str, batch: MetricBatch) {
        self.offer(number, tenant, batch);
        self.tail.settle(&segment(number), FlushOutcome::Durable);
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value, HeaderMap) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
        (status, body, headers)
    }

    async fn get_as(&self, key: usize, path: &str) -> (u16, Value) {
        let request = Request::get(path).header(header::AUTHORIZATION, &self.keys[key]);
        let (status, body, _) = self.send(request.body(Body::empty()).unwrap()).await;
        (status, body)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.get_as(ACME, path).await
    }

    /// The data of a success.
    async fn data(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert_eq!(body["status"], "success");
        body["data"].clone()
    }
}

fn error(kind: &str, message: &str) -> Value {
    json!({"status": "error", "errorType": kind, "error": message})
}

/// Every path as a request could have it.
fn sample_paths() -> impl Iterator<Item = String> {
    paths().map(|path| {
        let path = path.replace("{name}", "job");
        format!("{path}?query=up&start=1&end=2&step=1&match[]=up")
    })
}

#[tokio::test]
async fn no_route_answers_without_the_right_key() {
    let shard = Shard::new();
    for path in sample_paths() {
        let request = |authorization: Option<&str>| {
            let request = Request::get(&path);
            let request = match authorization {
                Some(value) => request.header(header::AUTHORIZATION, value),
                None => request,
            };
            shard.send(request.body(Body::empty()).unwrap())
        };
        let (status, body, headers) = request(None).await;
        assert_eq!((status, &body["errorType"]), (401, &json!("unauthorized")), "{path}");
        assert!(headers.contains_key(header::WWW_AUTHENTICATE), "{path}");
        assert_eq!(request(Some("Bearer garbage")).await.0, 401, "{path}");
        let (status, body, _) = request(Some(&shard.keys[WRITER])).await;
        assert_eq!((status, &body["errorType"]), (403, &json!("forbidden")), "{path}");
        assert_eq!(request(Some(&shard.keys[ACME])).await.0, 200, "{path}");
    }
    assert_eq!(shard.engine.metrics().requests[Outcome::Refused as usize], 3 * ROUTES.len() as u64);
}

#[tokio::test]
async fn a_tenant_never_sees_another() {
    let shard = Shard::new();
    let mut rows = MetricRows::default();
    let secret = series(&[("__name__", "up"), ("job", "secret"), ("secret_label", "secret")]);
    rows.floats.push(FloatRow { series: Arc::clone(&secret), timestamp_ms: NOW_MS, value: 1.0 });
    let labels = Labels::from_pairs([("trace_id", "secret")]).unwrap();
    rows.exemplars.push(ExemplarRow {
        series: secret,
        exemplar: Exemplar { labels, value: 1.0, timestamp_ms: NOW_MS },
    });
    let metadata =
        Metadata { metric_type: MetricType::Gauge, help: "secret".to_owned(), unit: String::new() };
    rows.metadata = BTreeMap::from([("up".to_owned(), metadata)]);
    let batch = MetricBatch::from_rows(vec![rows]);
    shard.write(1, "acme", batch.clone());
    shard.write(2, "rival", up(&[("own", NOW_MS, 2.0)]));
    // In one object with the rival's, on its way, and in the bucket.
    shard.offer(3, "acme", batch.clone());
    let cold = segment(-100);
    store(&*shard.bucket, cold, &[("acme", batch), ("rival", up(&[("older", NOW_MS, 2.0)]))]).await;
    for tenant in ["acme", "rival"] {
        let place = crate::PartitionPlace { segment: cold, min_time_ms: NOW_MS, max_time_ms: NOW_MS };
        shard
            .tail
            .note_cold(segment(if tenant == "acme" { -101 } else { -102 }), [(tenant_id(tenant), place)]);
    }
    let range = format!("start={}&end={}&step=1", NOW_MS / 1000 - 60, NOW_MS / 1000 + 60);
    for path in paths() {
        for name in ["job", "secret_label", "__name__"] {
            let path = path.replace("{name}", name);
            let path = format!("{path}?query=up&{range}&match[]=%7B__name__%3D~%22.%2B%22%7D");
            let (status, body) = shard.get_as(RIVAL, &path).await;
            assert_eq!(status, 200, "{path}: {body}");
            assert!(!body.to_string().contains("secret"), "{path}: {body}");
        }
    }
    let (_, own) = shard.get_as(RIVAL, "/api/v1/label/job/values").await;
    assert_eq!(own["data"], json!(["older", "own"]));
    // The check above can fail: the owner does see it.
    assert!(
        shard
            .get(&format!("/api/v1/query_exemplars?query=up&{range}"))
            .await
            .1
            .to_string()
            .contains("secret")
    );
    assert_eq!(shard.data("/api/v1/label/job/values").await, json!(["secret"]));
}

#[tokio::test]
async fn requests_are_answered_as_prometheus_answers_them() {
    let shard = Shard::new();
    let mut samples = Vec::new();
    for step in 0..5 {
        samples.push(("a", NOW_MS - 60_000 + step * 15_000, step as f64));
        samples.push(("b", NOW_MS - 60_000 + step * 15_000, 0.5));
    }
    shard.write(1, "acme", up(&samples));
    let now = NOW_MS / 1000;
    let up_series = |job: &str| json!({"__name__": "up", "job": job});

    let vector = json!({"resultType": "vector", "result": [
        {"metric": up_series("a"), "value": [now, "4"]},
        {"metric": up_series("b"), "value": [now, "0.5"]},
    ]});
    assert_eq!(shard.data("/api/v1/query?query=up").await, vector);
    assert_eq!(shard.data(&format!("/api/v1/query?query=up&time={now}")).await, vector);
    assert_eq!(shard.data("/api/v1/query?query=up&time=2026-11-22T12:00:00Z").await, vector);
    assert_eq!(
        shard.data("/api/v1/query?query=1%2B1").await,
        json!({"resultType": "scalar", "result": [now, "2"]})
    );
    assert_eq!(
        shard.data("/api/v1/query?query=sum(up)&lookback_delta=1s").await["result"][0]["value"],
        json!([now, "4.5"])
    );
    let later = now + 10;
    let none = json!({"resultType": "vector", "result": []});
    assert_eq!(shard.data(&format!("/api/v1/query?query=up&time={later}&lookback_delta=5s")).await, none);

    let matrix = json!({"resultType": "matrix", "result": [
        {"metric": up_series("a"), "values": [[now - 30, "2"], [now - 15, "3"], [now, "4"]]},
    ]});
    let query = "query=up%7Bjob%3D%22a%22%7D";
    let range = format!("{query}&start={}&end={now}&step=15s", now - 30);
    assert_eq!(shard.data(&format!("/api/v1/query_range?{range}")).await, matrix);
    let post = |path: &str, form: String| {
        Request::post(path)
            .header(header::AUTHORIZATION, &shard.keys[ACME])
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap()
    };
    let (status, body, headers) = shard.send(post("/api/v1/query_range", range)).await;
    assert_eq!((status, &body["data"]), (200, &matrix));
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");

    let (status, body) = shard.get("/api/v1/query?query=up&limit=1").await;
    assert_eq!((status, body["data"]["result"].as_array().unwrap().len()), (200, 1));
    assert_eq!(body["warnings"], json!(["results truncated due to limit"]));
    let stats = shard.data("/api/v1/query?query=up&stats=all").await["stats"].clone();
    assert_eq!((&stats["seriesRead"], &stats["samples"]["totalQueryableSamples"]), (&json!(2), &json!(2)));
    let range = format!(
        "/api/v1/query_range?query=sum(count_over_time(up[1m]))&start={now}&end={}&step=30&stats=all",
        now + 30
    );
    let stats = shard.data(&range).await["stats"]["samples"].clone();
    let steps = stats["totalQueryableSamplesPerStep"].as_array().unwrap().clone();
    let sum: u64 = steps.iter().map(|step| step[1].as_u64().unwrap()).sum();
    assert_eq!((steps.len(), stats["totalQueryableSamples"].as_u64()), (2, Some(sum)));
    assert!(sum >= 2, "{steps:?}");

    assert_eq!(shard.data("/api/v1/labels").await, json!(["__name__", "job"]));
    assert_eq!(shard.data("/api/v1/labels?match[]=down").await, json!([]));
    assert_eq!(shard.data("/api/v1/label/job/values").await, json!(["a", "b"]));
    assert_eq!(shard.data("/api/v1/label/U__job/values?match[]=up%7Bjob!%3D%22a%22%7D").await, json!(["b"]));
    assert_eq!(shard.data("/api/v1/label/job/values?limit=1").await, json!(["a"]));
    assert_eq!(
        shard.data(&format!("/api/v1/label/job/values?match[]=up&end={}", now - 3600)).await,
        json!([])
    );
    assert_eq!(shard.data("/api/v1/series?match[]=up").await, json!([up_series("a"), up_series("b")]));
    assert_eq!(
        shard.data("/api/v1/series?match[]=up%7Bjob%3D%22b%22%7D&match[]=%7Bjob%3D%22b%22%7D").await,
        json!([up_series("b")])
    );
    assert_eq!(shard.data("/api/v1/format_query?query=sum(up)by(job)").await, json!("sum by (job) (up)"));
    assert_eq!(shard.data("/api/v1/metadata").await, json!({}));
    assert_eq!(shard.data("/api/v1/query_exemplars?query=up").await, json!([]));
    let top = shard.data("/api/v1/status/tsdb").await;
    assert_eq!(top["headStats"], json!({"numSeries": 2, "numLabelPairs": 3}));
    assert_eq!(top["seriesCountByMetricName"], json!([{"name": "up", "value": 2}]));
    assert_eq!(
        top["seriesCountByLabelValuePair"],
        json!([{"name": "__name__=up", "value": 2}, {"name": "job=a", "value": 1}, {"name": "job=b", "value": 1}])
    );
    assert_eq!(shard.data("/api/v1/status/buildinfo").await["version"], "3.5.0");
    assert_eq!(shard.data("/api/v1/rules").await, json!({"groups": []}));
}

#[tokio::test]
async fn bad_requests_say_what_is_wrong() {
    let shard = Shard::new();
    shard.write(1, "acme", up(&[("a", NOW_MS, 1.0), ("b", NOW_MS, 1.0)]));
    for (path, status, kind, message) in [
        ("query?query=up{", 400, "bad_data", "invalid parameter \"query\": 1:4: parse error: "),
        ("query?query=", 400, "bad_data", "invalid parameter \"query\": "),
        (
            "query?query=up&time=foo",
            400,
            "bad_data",
            "invalid parameter \"time\": cannot parse \"foo\" to a valid timestamp",
        ),
        (
            "query?query=up&timeout=foo",
            400,
            "bad_data",
            "invalid parameter \"timeout\": cannot parse \"foo\" to a valid duration",
        ),
        (
            "query?query=up&limit=-3",
            400,
            "bad_data",
            "invalid parameter \"limit\": limit must be non-negative",
        ),
        (
            "query?query=up&provisional=maybe",
            400,
            "bad_data",
            "invalid parameter \"provisional\": \"maybe\" is neither",
        ),
        ("query?query=up*on()up", 422, "execution", ""),
        ("query_range?query=up", 400, "bad_data", "invalid parameter \"start\": it is missing"),
        (
            "query_range?query=up&start=2&end=1&step=1",
            400,
            "bad_data",
            "invalid parameter \"end\": end timestamp must not be before start timestamp",
        ),
        (
            "query_range?query=up&start=1&end=2&step=0",
            400,
            "bad_data",
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            "query_range?query=up&start=0&end=11001&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        ("series", 400, "bad_data", "no match[] parameter provided"),
        ("series?match[]=%7B%7D", 400, "bad_data", "invalid parameter \"match[]\": "),
        ("labels?match[]=up[5m]", 400, "bad_data", "invalid parameter \"match[]\": "),
        ("label/job/values?start=3&end=1", 400, "bad_data", "invalid parameter \"end\""),
        ("query_exemplars?start=1", 400, "bad_data", "invalid parameter \"query\": it is missing"),
    ] {
        let (got, body) = shard.get(&format!("/api/v1/{}", path.replace('{', "%7B"))).await;
        assert_eq!((got, &body["errorType"]), (status, &json!(kind)), "{path}: {body}");
        let text = body["error"].as_str().unwrap();
        assert!(text.starts_with(message), "{path}: {text:?} does not start with {message:?}");
    }
    let points = "/api/v1/query_range?query=up&start=0&end=11000&step=1";
    assert_eq!(shard.get(points).await.0, 200, "exactly the most points");
    let too_long = Request::post("/api/v1/query")
        .header(header::AUTHORIZATION, &shard.keys[ACME])
        .body(Body::from(vec![b'a'; MAX_FORM_BYTES + 1]))
        .unwrap();
    let (status, body, _) = shard.send(too_long).await;
    assert_eq!((status, &body["errorType"]), (400, &json!("bad_data")), "{body}");
}

#[tokio::test]
async fn nothing_is_read_from_whom_nobody_knows() {
    let shard = Shard::new();
    let never = || Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::convert::Infallible>>());
    for (key, expected) in [("Bearer garbage", 401), (&*shard.keys[WRITER], 403)] {
        let request =
            Request::post("/api/v1/query").header(header::AUTHORIZATION, key).body(never()).unwrap();
        let (status, _, _) = shard.send(request).now_or_never().expect("an answer without the body");
        assert_eq!(status, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_form_that_does_not_come_is_given_up() {
    let shard = Shard::new();
    let never = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::convert::Infallible>>());
    let request =
        Request::post("/api/v1/query").header(header::AUTHORIZATION, &shard.keys[ACME]).body(never).unwrap();
    let (status, body, _) = shard.send(request).await;
    assert_eq!((status, body), (408, error("timeout", "the request body came too slowly")));
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let shard = Shard::new();
    let (status, body) = shard.get("/api/v1/label/a%ff/values").await;
    assert_eq!((status, &body["errorType"]), (400, &json!("bad_data")), "{body}");
    for path in ["/api/v1/nothing", "/api/v1/label/a/nothing", "/api/v1/query/nothing"] {
        let (status, body) = shard.get(path).await;
        assert_eq!((status, body), (404, error("not_found", "there is nothing under this path")), "{path}");
    }
}

#[tokio::test]
async fn queries_are_taken_apart() {
    let shard = Shard::new();
    let tree = shard.data("/api/v1/parse_query?query=up").await;
    assert_eq!((&tree["type"], &tree["name"]), (&json!("vectorSelector"), &json!("up")));
    let request = Request::post("/api/v1/parse_query").header(header::AUTHORIZATION, &shard.keys[ACME]);
    let (status, body, _) = shard.send(request.body(Body::from("query=up")).unwrap()).await;
    assert_eq!((status, &body["data"]), (200, &tree));
    for query in ["up{".to_owned(), "1".repeat(MAX_PARSED_QUERY_BYTES + 1)] {
        let request = Request::post("/api/v1/parse_query").header(header::AUTHORIZATION, &shard.keys[ACME]);
        let (status, body, _) = shard.send(request.body(Body::from(format!("query={query}"))).unwrap()).await;
        assert_eq!((status, &body["errorType"]), (400, &json!("bad_data")), "{body}");
    }
}

/// Label names and values are those of series with samples in the time asked for, wherever these are.
#[tokio::test]
async fn labels_are_those_of_the_time_asked_for() {
    let shard = Shard::new();
    let hour = |number: i64| NOW_MS + number * 3_600_000;
    let cold = segment(-5);
    let of_cold = up(&[("cold", hour(0), 1.0), ("late", hour(1), 1.0)]);
    store(&*shard.bucket, cold, &[("acme", of_cold)]).await;
    let place = crate::PartitionPlace { segment: cold, min_time_ms: hour(0), max_time_ms: hour(1) };
    shard.tail.note_cold(cold, [(tenant_id("acme"), place)]);
    shard.write(1, "acme", up(&[("folded", hour(2), 1.0), ("newer", hour(3), 1.0)]));
    shard.offer(2, "acme", up(&[("offered", hour(4), 1.0), ("newest", hour(5), 1.0)]));
    let ask = async |path: &str, (first, last): (i64, i64), more: &str| {
        shard.data(&format!("{path}?start={}&end={}{more}", hour(first) / 1000, hour(last) / 1000)).await
    };
    for (range, jobs) in [
        ((0, 0), json!(["cold"])),
        ((1, 2), json!(["folded", "late"])),
        ((3, 4), json!(["newer", "offered"])),
        ((5, 9), json!(["newest"])),
        ((6, 9), json!([])),
        ((-9, -1), json!([])),
        ((0, 5), json!(["cold", "folded", "late", "newer", "newest", "offered"])),
    ] {
        assert_eq!(ask("/api/v1/label/job/values", range, "").await, jobs, "{range:?}");
        let names = if jobs == json!([]) { json!([]) } else { json!(["__name__", "job"]) };
        assert_eq!(ask("/api/v1/labels", range, "").await, names, "{range:?}");
    }
    assert_eq!(ask("/api/v1/labels", (4, 9), "&provisional=false").await, json!([]));
    assert_eq!(shard.data("/api/v1/labels?start=0&end=1").await, json!([]));
}

/// Series in the bucket and in memory, some of them in both, are listed once and in order.
#[tokio::test]
async fn series_of_several_places_are_one_list() {
    let shard = Shard::new();
    let cold = segment(-5);
    store(&*shard.bucket, cold, &[("acme", up(&[("b", NOW_MS, 1.0), ("d", NOW_MS, 1.0)]))]).await;
    let place = crate::PartitionPlace { segment: cold, min_time_ms: NOW_MS, max_time_ms: NOW_MS };
    shard.tail.note_cold(cold, [(tenant_id("acme"), place)]);
    shard.write(1, "acme", up(&[("d", NOW_MS, 2.0), ("c", NOW_MS, 1.0)]));
    shard.offer(2, "acme", up(&[("c", NOW_MS + 1, 1.0), ("a", NOW_MS, 1.0)]));
    let listed = async |more: &str| {
        let (status, body) = shard.get(&format!("/api/v1/series?match[]=up{more}")).await;
        assert_eq!(status, 200, "{body}");
        let jobs = body["data"].as_array().unwrap().iter().map(|series| series["job"].clone());
        (Value::from_iter(jobs), body["warnings"].clone())
    };
    assert_eq!(listed("").await, (json!(["a", "b", "c", "d"]), Value::Null));
    assert_eq!(listed("&match[]=up&limit=4").await, (json!(["a", "b", "c", "d"]), Value::Null));
    let (some, warnings) = listed("&limit=2").await;
    assert_eq!((some.as_array().unwrap().len(), warnings), (2, json!(["results truncated due to limit"])));
    let names = shard.data("/api/v1/labels?match[]=up").await;
    assert_eq!(names, json!(["__name__", "job"]));
}

#[tokio::test]
async fn a_query_runs_until_its_answer_is_read() {
    let settings = QuerySettings { queries_at_once: 1, ..QuerySettings::default() };
    let shard = Shard::with(Limits::default(), settings, always_caught_up(), TailSettings::default());
    let jobs: Vec<String> = (0..20).map(|job| job.to_string()).collect();
    let samples: Vec<_> = jobs.iter().map(|job| (&**job, NOW_MS, 1.0)).collect();
    shard.write(1, "acme", up(&samples));
    let start = NOW_MS / 1000;
    let path = format!("/api/v1/query_range?query=up&start={start}&end={}&step=0.1", start + 299);
    let ask = async || {
        let request = Request::get(&path).header(header::AUTHORIZATION, &shard.keys[ACME]);
        shard.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let unread = ask().await;
    assert_eq!((unread.status().as_u16(), shard.engine.metrics().running), (200, 1));
    let (status, body) = shard.get("/api/v1/query?query=up&timeout=10ms").await;
    assert_eq!((status, &body["errorType"]), (503, &json!("timeout")), "the only place is taken: {body}");
    let whole = unread.into_body().collect().await.unwrap().to_bytes();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["data"]["result"].as_array().unwrap().len(), jobs.len());
    let unread = ask().await;
    assert_eq!(shard.engine.metrics().requests[Outcome::Success as usize], 1);
    drop(unread);
    while shard.engine.metrics().running > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(shard.engine.metrics().requests[Outcome::Canceled as usize], 1);
}

#[tokio::test]
async fn provisional_data_counts_unless_it_is_not_wanted() {
    let shard = Shard::new();
    shard.write(1, "acme", up(&[("a", NOW_MS, 1.0)]));
    shard.offer(2, "acme", up(&[("b", NOW_MS, 1.0)]));
    let count = async |path: &str| shard.data(path).await["result"][0]["value"][1].clone();
    assert_eq!(count("/api/v1/query?query=count(up)").await, "2");
    assert_eq!(count("/api/v1/query?query=count(up)&provisional=false").await, "1");
    assert_eq!(shard.data("/api/v1/label/job/values").await, json!(["a", "b"]));
    assert_eq!(shard.data("/api/v1/label/job/values?provisional=false").await, json!(["a"]));
    assert_eq!(shard.data("/api/v1/series?match[]=up&provisional=false").await.as_array().unwrap().len(), 1);
    shard.tail.settle(&segment(2), FlushOutcome::Withdrawn);
    assert_eq!(count("/api/v1/query?query=count(up)").await, "1");
    assert_eq!(shard.data("/api/v1/label/job/values").await, json!(["a"]));
}

#[tokio::test]
async fn every_limit_is_named_by_its_error() {
    let with = |limits: Limits, promql: promql::Limits| {
        let settings = QuerySettings { limits: promql, ..QuerySettings::default() };
        let shard = Shard::with(limits, settings, always_caught_up(), TailSettings::default());
        let jobs: Vec<String> = (0..50).map(|job| job.to_string()).collect();
        let samples: Vec<_> = jobs.iter().map(|job| (&**job, NOW_MS, 1.0)).collect();
        shard.write(1, "acme", up(&samples));
        shard
    };
    let promql = promql::Limits::default();
    for (limits, named) in [
        (promql::Limits { max_series: 10, ..promql }, "10 series"),
        (promql::Limits { max_samples: 10, ..promql }, "10 samples"),
        (promql::Limits { max_memory_bytes: 10, ..promql }, "10 bytes of memory"),
    ] {
        let shard = with(Limits::default(), limits);
        let (status, body) = shard.get("/api/v1/query?query=up").await;
        assert_eq!((status, &body["errorType"]), (422, &json!("execution")), "{body}");
        assert!(body["error"].as_str().unwrap().contains(named), "{body}");
        assert_eq!(shard.engine.metrics().requests[Outcome::Limit as usize], 1);
    }

    let shard = with(Limits { query_bytes: Some(10), ..Limits::default() }, promql);
    store(&*shard.bucket, segment(-5), &[("acme", up(&[("cold", NOW_MS, 1.0)]))]).await;
    let place = crate::PartitionPlace { segment: segment(-5), min_time_ms: NOW_MS, max_time_ms: NOW_MS };
    shard.tail.note_cold(segment(-5), [(tenant_id("acme"), place)]);
    let (status, body) = shard.get("/api/v1/query?query=up").await;
    let message =
        "limit query_bytes reached: the query reads more than 10 bytes of segments; use a shorter range";
    assert_eq!((status, body), (422, error("execution", message)));

    let shard = with(Limits { query_concurrency: Some(0), ..Limits::default() }, promql);
    let request = Request::get("/api/v1/query?query=up").header(header::AUTHORIZATION, &shard.keys[ACME]);
    let (status, body, headers) = shard.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((status, &body["errorType"]), (429, &json!("too_many_requests")), "{body}");
    assert!(body["error"].as_str().unwrap().contains("limit query_concurrency reached"), "{body}");
    assert_eq!(headers[header::RETRY_AFTER], "1");
    assert_eq!(shard.get_as(RIVAL, "/api/v1/query?query=up").await.0, 200, "others are not concerned");
}

#[tokio::test(start_paused = true)]
async fn a_query_before_the_tail_has_caught_up_waits_for_it() {
    let (announce, caught_up) = watch::channel(false);
    let shard = Shard::with(Limits::default(), QuerySettings::default(), caught_up, TailSettings::default());
    let (status, body) = shard.get("/api/v1/query?query=up&timeout=2s").await;
    assert_eq!((status, &body["errorType"]), (503, &json!("timeout")), "{body}");
    assert!(body["error"].as_str().unwrap().contains("the limit is 2 s"), "{body}");

    let waiting = shard.get("/api/v1/query?query=up");
    let catching_up = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        shard.tail.absorb(segment(-1), vec![(tenant_id("acme"), up(&[("a", NOW_MS, 1.0)]))]);
        announce.send_replace(true);
    };
    let ((status, body), ()) = tokio::join!(waiting, catching_up);
    assert_eq!((status, body["data"]["result"].as_array().unwrap().len()), (200, 1), "{body}");
}

#[tokio::test(start_paused = true)]
async fn a_query_that_takes_too_much_memory_from_the_bucket_waits_until_its_data_is_in_memory() {
    let (announce, warm) = watch::channel(false);
    let promql = promql::Limits { max_memory_bytes: 64 << 10, ..promql::Limits::default() };
    let settings = QuerySettings { limits: promql, ..QuerySettings::default() };
    let started = (always_caught_up(), warm);
    let shard = Shard::warming_up(Limits::default(), settings, started, TailSettings::default());
    let batch = || {
        let jobs: Vec<String> = (0..1_000).map(|job| job.to_string()).collect();
        up(&jobs.iter().map(|job| (&**job, NOW_MS, 1.0)).collect::<Vec<_>>())
    };
    store(&*shard.bucket, segment(-1), &[("acme", batch())]).await;
    let place = crate::PartitionPlace { segment: segment(-1), min_time_ms: NOW_MS, max_time_ms: NOW_MS };
    shard.tail.note_cold(segment(-1), [(tenant_id("acme"), place)]);
    let (status, body) = shard.get("/api/v1/query?query=up%7Bjob=%227%22%7D&timeout=2s").await;
    assert_eq!((status, &body["errorType"]), (503, &json!("timeout")), "{body}");

    let waiting = shard.get("/api/v1/query?query=up%7Bjob=%227%22%7D");
    let warming_up = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        shard.tail.absorb_backlog(segment(-1), vec![(tenant_id("acme"), batch())]);
        shard.tail.show_backlog();
        announce.send_replace(true);
    };
    let ((status, body), ()) = tokio::join!(waiting, warming_up);
    assert_eq!((status, body["data"]["result"].as_array().unwrap().len()), (200, 1), "{body}");
}

#[tokio::test]
async fn a_query_that_nobody_waits_for_any_more_is_canceled() {
    let (_announce, caught_up) = watch::channel(false);
    let shard = Shard::with(Limits::default(), QuerySettings::default(), caught_up, TailSettings::default());
    let mut asking = Box::pin(shard.get("/api/v1/query?query=up"));
    assert!(futures::poll!(&mut asking).is_pending());
    assert_eq!(shard.engine.metrics().running, 1);
    drop(asking);
    let metrics = shard.engine.metrics();
    assert_eq!((metrics.running, metrics.requests[Outcome::Canceled as usize]), (0, 1));
}
