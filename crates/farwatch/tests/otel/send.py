"""Sends metrics of every kind with the OpenTelemetry SDK, and prints as JSON what it recorded.

usage: send.py http|grpc ENDPOINT API_KEY cumulative|delta SERVICE
"""

import json
import sys
import time

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

protocol, endpoint, key, temporality, service = sys.argv[1:]

if protocol == "http":
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    arguments = {"endpoint": endpoint, "headers": {"Authorization": f"Bearer {key}"}}
else:
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    arguments = {"endpoint": endpoint, "insecure": True, "headers": (("authorization", f"Bearer {key}"),)}

chosen = AggregationTemporality.DELTA if temporality == "delta" else AggregationTemporality.CUMULATIVE
monotonic = (Counter, Histogram, ObservableCounter)
# What goes up and down has no meaningful delta: the specification's "delta" preference leaves it cumulative.
others = (ObservableGauge, ObservableUpDownCounter, UpDownCounter)
preferred = {kind: chosen for kind in monotonic} | {kind: AggregationTemporality.CUMULATIVE for kind in others}
exporter = OTLPMetricExporter(preferred_temporality=preferred, **arguments)

# Every export is asked for; the timer stays out of it.
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
provider = MeterProvider(
    metric_readers=[reader],
    # A last export at exit would add to what is checked.
    shutdown_on_exit=False,
    resource=Resource.create({"service.name": service, "service.instance.id": "one", "cloud.region": "north-1"}),
    views=[View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation())],
)
meter = provider.get_meter("farwatch.test", "1.0")

state = {"observed": 0}
orders = meter.create_counter("orders", unit="1", description="Orders taken.")
waiting = meter.create_up_down_counter("queue.waiting", description="Waiting in the queue.")
latency = meter.create_histogram(
    "latency", unit="s", description="Time to answer.", explicit_bucket_boundaries_advisory=[0.1, 0.5, 1.0]
)
size = meter.create_histogram("size", unit="By", description="Size of an answer.")
temperature = meter.create_gauge("temperature", unit="Cel", description="How warm it is.")
meter.create_observable_counter("read", [lambda _: [Observation(state["observed"])]], unit="By")
meter.create_observable_gauge("fill", [lambda _: [Observation(0.25)]], unit="1")
meter.create_observable_up_down_counter("open", [lambda _: [Observation(state["observed"] // 2)]])

rounds = [3, 5, 7, 11, 13]
begin = time.time()
for count in rounds:
    orders.add(count, {"shop": "a"})
    orders.add(2 * count, {"shop": "b"})
    waiting.add(count if count != 7 else -4)
    for _ in range(count):
        latency.record(0.3)
    latency.record(0.05)
    size.record(1000)
    size.record(count)
    temperature.set(20.5 + count)
    state["observed"] += 10 * count
    if not provider.force_flush():
        sys.exit("an export failed")
    # Points of one series need different times, and those are in milliseconds.
    time.sleep(0.02)
end = time.time()
print(json.dumps({"begin": begin, "end": end, "rounds": rounds}))
