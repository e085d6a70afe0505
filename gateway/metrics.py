"""What has this installation done so far? Counters of all processes, summed up in Redis; a restart resets them."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

KEY = "gateway:metrics"

_lock = threading.Lock()
_counts: Counter[str] = Counter()


def count(name: str, number: int = 1, **labels: str) -> None:
    """Add to a counter of this process; `flush` brings it to the others."""
    if number:
        field = "|".join((name, *(f"{label}={value}" for label, value in sorted(labels.items()))))
        with _lock:
            _counts[field] += number


def flush(redis: Redis) -> None:
    """Hand over what was counted. While Redis is away it is kept for the next time."""
    with _lock:
        counts = Counter(_counts)
        _counts.clear()
    if not counts:
        return
    try:
        with redis.pipeline(transaction=False) as pipeline:
            for field, number in counts.items():
                pipeline.hincrby(KEY, field, number)
            pipeline.execute()
    except RedisError:
        with _lock:
            _counts.update(counts)


@contextmanager
def flushed(redis: Redis) -> Iterator[None]:
    try:
        yield
    finally:
        flush(redis)


def read(redis: Redis) -> dict[tuple[str, tuple[tuple[str, str], ...]], int]:
    """By name and labels, the sums over all processes. Raises RedisError."""
    found = {}
    counts: dict[Any, Any] = redis.hgetall(KEY)
    for raw, number in counts.items():
        name, *labels = raw.decode().split("|")
        pairs = tuple((label.partition("=")[0], label.partition("=")[2]) for label in labels)
        found[name, pairs] = int(number)
    return found
