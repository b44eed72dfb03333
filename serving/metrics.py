"""What a server counts, in the text format of Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest


SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The counters of one server, by name in docs/endpoint.md."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("ecgclip_requests", "Requests answered", ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "ecgclip_request_seconds",
            "From the head of a prediction's request to the end of its answer",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.errors = Counter("ecgclip_errors", "Errors, by name", ["type"], registry=self.registry)
        self.ecgs = Counter("ecgclip_ecgs", "ECGs computed", registry=self.registry)
        self.batches = Histogram(
            "ecgclip_batch_ecgs", "ECGs computed at once", buckets=(1, 2, 4, 8, 16, 32), registry=self.registry
        )
        self.replaced = Counter(
            "ecgclip_readers_replaced", "Processes that took too much, or ended", ["reason"], registry=self.registry
        )

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Adds a gauge that is asked for its value."""
        Gauge(f"ecgclip_{name}", text, registry=self.registry).set_function(value)

    def batch(self, n_ecgs: int) -> None:
        """Counts a batch."""
        self.ecgs.inc(n_ecgs)
        self.batches.observe(n_ecgs)

    def text(self) -> bytes:
        """Returns all of it."""
        return generate_latest(self.registry)


__all__ = ["Metrics"]
