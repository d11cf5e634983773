use std::sync::Arc;
use std::time::Duration;

use promql::{Annotation, QueryOutput, QueryStats, ScalarSample};
use segment_store::{Clock, ManualClock};
use telemetry::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};
use telemetry::{Labels, stale_nan};

use super::*;

/// The parts that a client receives, read as fast as they come.
async fn parts(answered: Answer, wanted: Wanted) -> Vec<Bytes> {
    let (sink, parts) = channel();
    let answering = async move {
        let writing = move || answer(sink, &deadline(Duration::from_secs(60)), answered, wanted);
        tokio::task::spawn_blocking(writing).await.unwrap()
    };
    let response = respond(parts, Box::pin(answering)).await.unwrap();
    response.into_body().into_data_stream().map(Result::unwrap).collect().await
}

async fn text(answered: Answer, wanted: Wanted) -> String {
    let text = String::from_utf8(parts(answered, wanted).await.concat()).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    text
}

fn large(points: i64) -> Answer {
    let floats: Vec<(i64, f64)> = (0..points).map(|at| (at, at as f64 / 3.0)).collect();
    let series = MatrixSeries { labels: Labels::empty(), floats, histograms: Vec::new() };
    output(Value::Matrix(vec![series]))
}

fn deadline(limit: Duration) -> Deadline {
    Deadline::new(Arc::new(ManualClock::new(0)), limit)
}

fn output(value: Value) -> Answer {
    let output = QueryOutput { value, ..QueryOutput::default() };
    Answer { output, warnings: Vec::new(), cost: Cost::default() }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn float(value: f64) -> VectorSample {
    VectorSample { labels: labels(&[("__name__", "up")]), timestamp_ms: 1_500, sample: Sample::Float(value) }
}

fn histogram(histogram: Histogram) -> Value {
    Value::Vector(vec![VectorSample {
        labels: Labels::empty(),
        timestamp_ms: 1_000,
        sample: Sample::Histogram(Arc::new(histogram)),
    }])
}

#[tokio::test]
async fn results_are_written_as_prometheus_writes_them() {
    let exponential = Histogram {
        schema: 0,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: 12.0,
        sum: 18.4,
        positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
        positive_buckets: vec![1.0, 0.0, 3.0],
        negative_spans: vec![Span { offset: 1, length: 2 }],
        negative_buckets: vec![4.0, 2.0],
        ..Histogram::default()
    };
    let custom = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 6.0,
        sum: 5.5,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_buckets: vec![1.0, 2.0, 3.0],
        custom_values: vec![0.5, 1.0],
        ..Histogram::default()
    };
    let matrix = Value::Matrix(vec![
        MatrixSeries {
            labels: labels(&[("__name__", "a"), ("path", "/x\"y")]),
            floats: vec![(0, 1.0), (15_000, f64::NAN)],
            histograms: vec![(30_000, Arc::new(Histogram { count: 0.0, ..Histogram::default() }))],
        },
        MatrixSeries { labels: labels(&[("ä.b", "1")]), floats: vec![(-1, -0.5)], histograms: vec![] },
    ]);
    let cases: [(Value, &str); 10] = [
        (Value::Vector(Vec::new()), r#"{"resultType":"vector","result":[]}"#),
        (
            Value::Vector(vec![float(1.0), float(0.1)]),
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1.500,"1"]},{"metric":{"__name__":"up"},"value":[1.500,"0.1"]}]}"#,
        ),
        (
            Value::Vector(vec![float(stale_nan()), float(f64::NEG_INFINITY)]),
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1.500,"NaN"]},{"metric":{"__name__":"up"},"value":[1.500,"-Inf"]}]}"#,
        ),
        (
            Value::Scalar(ScalarSample { timestamp_ms: 1_500, value: 1e21 }),
            r#"{"resultType":"scalar","result":[1.5,"1000000000000000000000"]}"#,
        ),
        (
            Value::String { timestamp_ms: 1_435_781_451_781, text: "a\nb".to_owned() },
            r#"{"resultType":"string","result":[1435781451.781,"a\nb"]}"#,
        ),
        (Value::Matrix(Vec::new()), r#"{"resultType":"matrix","result":[]}"#),
        (
            matrix,
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"a","path":"/x\"y"},"values":[[0,"1"],[15,"NaN"]],"histograms":[[30,{"count":"0","sum":"0"}]]},{"metric":{"ä.b":"1"},"values":[[-0.001,"-0.5"]]}]}"#,
        ),
        (
            histogram(exponential),
            r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"12","sum":"18.4","buckets":[[1,"-4","-2","2"],[1,"-2","-1","4"],[3,"-0.001","0.001","2"],[0,"0.5","1","1"],[0,"4","8","3"]]}]}]}"#,
        ),
        (
            histogram(custom),
            r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"6","sum":"5.5","buckets":[[3,"-Inf","0.5","1"],[0,"0.5","1","2"],[0,"1","+Inf","3"]]}]}]}"#,
        ),
        (
            histogram(Histogram { count: f64::NAN, sum: f64::INFINITY, ..Histogram::default() }),
            r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"NaN","sum":"+Inf"}]}]}"#,
        ),
    ];
    for (value, expected) in cases {
        let written = text(output(value), Wanted::default()).await;
        assert_eq!(written, format!("{{\"status\":\"success\",\"data\":{expected}}}"));
    }
}

#[tokio::test]
async fn limits_warnings_infos_and_stats_have_their_places() {
    let annotation = |message: &str| Annotation { message: message.to_owned(), position: (1, 3) };
    let answered = Answer {
        output: QueryOutput {
            value: Value::Vector(vec![float(1.0), float(2.0)]),
            warnings: vec![annotation("PromQL warning: careful")],
            infos: vec![annotation("PromQL info: well")],
            stats: QueryStats { series: 2, samples: 7, peak_memory_bytes: 99 },
            samples_per_step: vec![(1_500, 8), (2_500, 9)],
        },
        warnings: vec!["stored".to_owned()],
        cost: Cost {
            queue: Duration::from_millis(4),
            preparation: Duration::from_millis(1),
            evaluation: Duration::from_millis(2),
            cold_bytes: 5,
            cold_partitions: 1,
        },
    };
    let written = text(answered.clone(), Wanted { stats: Stats::Some, limit: None }).await;
    assert!(!written.contains("PerStep"), "{written}");
    let written = text(answered, Wanted { stats: Stats::All, limit: Some(1) }).await;
    assert_eq!(
        written,
        concat!(
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up"},"value":[1.500,"1"]}],"#,
            r#""stats":{"timings":{"evalTotalTime":0.003,"resultSortTime":0,"queryPreparationTime":0.001,"#,
            r#""innerEvalTime":0.002,"execQueueTime":0.004,"execTotalTime":0.007},"#,
            r#""samples":{"totalQueryableSamplesPerStep":[[1.500,8],[2.500,9]],"totalQueryableSamples":17,"peakSamples":6},"#,
            r#""seriesRead":2,"samplesRead":7,"peakMemoryBytes":99,"storedPartitionsRead":1,"storedBytesRead":5}},"#,
            r#""warnings":["stored","PromQL warning: careful (1:3)","results truncated due to limit"],"#,
            r#""infos":["PromQL info: well (1:3)"]}"#,
        )
    );
}

#[tokio::test]
async fn a_large_result_leaves_in_parts() {
    let parts = parts(large(100_000), Wanted::default()).await;
    assert!(parts.len() > 10);
    assert!(parts.iter().all(|part| part.len() < 2 * RESPONSE_PART_BYTES));
    let parsed: serde_json::Value = serde_json::from_slice(&parts.concat()).unwrap();
    assert_eq!(parsed["data"]["result"][0]["values"].as_array().unwrap().len(), 100_000);
}

#[tokio::test]
async fn no_more_is_written_than_the_client_reads() {
    let (sink, mut parts) = channel();
    let deadline = deadline(Duration::from_secs(60));
    let writing =
        tokio::task::spawn_blocking(move || answer(sink, &deadline, large(100_000), Wanted::default()));
    assert!(matches!(parts.0.recv().await, Some(Part::More(_))));
    assert!(parts.0.len() <= RESPONSE_PARTS_AHEAD && !writing.is_finished());
    drop(parts);
    let result = writing.await.unwrap();
    assert!(matches!(result, Err(QueryError::Canceled)), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up() {
    let (sink, mut parts) = channel();
    let deadline = deadline(2 * STALLED_CLIENT_TIMEOUT);
    let writing =
        tokio::task::spawn_blocking(move || answer(sink, &deadline, large(100_000), Wanted::default()));
    while !writing.is_finished() {
        tokio::time::advance(STALLED_CLIENT_TIMEOUT / 10).await;
    }
    let result = writing.await.unwrap();
    assert!(matches!(result, Err(QueryError::Timeout { limit: STALLED_CLIENT_TIMEOUT, .. })), "{result:?}");
    for _ in 0..RESPONSE_PARTS_AHEAD {
        assert!(matches!(parts.0.recv().await, Some(Part::More(_))));
    }
    assert!(parts.0.recv().await.is_none(), "no end, so that the client sees that it is not all");
}

#[tokio::test]
async fn errors_are_answers_at_first_and_later_cut_the_body_off() {
    let failing = |points: i64| {
        let (sink, parts) = channel();
        let writing = move || {
            let deadline = deadline(Duration::from_secs(60));
            sink.success(&deadline, &[], &[], |writer| {
                writer.list(0..points, |json, number| json.number(number as u64))?;
                Err(QueryError::Internal)
            })
        };
        let answering = async move { tokio::task::spawn_blocking(writing).await.unwrap() };
        respond(parts, Box::pin(answering))
    };
    assert!(matches!(failing(1).await, Err(QueryError::Internal)));
    let response = failing(100_000).await.unwrap();
    let parts: Vec<_> = response.into_body().into_data_stream().collect().await;
    let (end, whole) = parts.split_last().unwrap();
    assert!(end.is_err() && !whole.is_empty() && whole.iter().all(Result::is_ok));
}

#[tokio::test]
async fn time_is_up_while_the_answer_is_written_too() {
    let (sink, _parts) = channel();
    let clock = Arc::new(ManualClock::new(0));
    let deadline = Deadline::new(Arc::clone(&clock) as Arc<dyn Clock>, Duration::from_secs(1));
    clock.advance(Duration::from_secs(2));
    let result = answer(sink, &deadline, large(1), Wanted::default());
    assert!(matches!(result, Err(QueryError::Timeout { phase: "sending the answer", .. })), "{result:?}");
}
