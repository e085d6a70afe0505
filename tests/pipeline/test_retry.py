"""An attempt failed: when is the next one, or is it over?"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.errors import PASSING, ApiError, ApiFailure
from gateway.pipeline.retry import FIRST, GIVE_UP, LONGEST, REPLICA_LAG, Again, Over, next_attempt

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def after(failure: ApiFailure, *, retry_after: float | None = None, **given: Any) -> Again | Over:
    usual: dict[str, Any] = {"attempts": 1, "since": NOW, "now": NOW, "jitter": 0.5}
    return next_attempt(ApiError(failure, "x", retry_after=retry_after), **{**usual, **given})


def wait(plan: Again | Over) -> timedelta:
    assert isinstance(plan, Again)
    return plan.at - NOW


FAILURES = st.sampled_from(ApiFailure)
ATTEMPTS = st.integers(0, 10_000)
JITTERS = st.floats(0, 1)
AGES = st.timedeltas(timedelta(0), GIVE_UP)
ASKED = st.none() | st.floats(0)


@pytest.mark.parametrize("failure", ApiFailure)
def test_each_failure_is_over_or_tried_again(failure):
    expected = Again if failure in PASSING or failure is ApiFailure.MISSING else Over
    assert isinstance(after(failure), expected)


@given(FAILURES, ATTEMPTS, JITTERS, ASKED, AGES)
def test_after_a_day_nothing_is_tried_again(failure, attempts, jitter, asked, age):
    old = NOW - GIVE_UP - age - timedelta(seconds=1)
    assert isinstance(after(failure, attempts=attempts, since=old, jitter=jitter, retry_after=asked), Over)


@given(FAILURES, ATTEMPTS, JITTERS, ASKED, AGES)
def test_the_next_attempt_is_always_later_and_never_beyond_a_day(failure, attempts, jitter, asked, age):
    plan = after(failure, attempts=attempts, since=NOW - age, jitter=jitter, retry_after=asked)
    if isinstance(plan, Again):
        assert timedelta(0) < wait(plan) <= GIVE_UP * 1.2


@given(FAILURES, ATTEMPTS, JITTERS, st.floats(0, GIVE_UP.total_seconds()))
def test_nobody_comes_back_before_the_vendor_said(failure, attempts, jitter, asked):
    plan = after(failure, attempts=attempts, jitter=jitter, retry_after=asked)
    if isinstance(plan, Again) and failure is not ApiFailure.MISSING:
        assert wait(plan) >= timedelta(seconds=asked)


@given(st.sampled_from(sorted(PASSING - {ApiFailure.THROTTLED})), st.integers(0, 30), JITTERS)
def test_without_a_word_of_the_vendor_the_waits_double_up_to_an_hour(failure, attempts, jitter):
    short, longer = (wait(after(failure, attempts=n, jitter=jitter)) for n in (attempts, attempts + 1))
    assert short <= longer <= LONGEST * 1.2
    if longer < LONGEST * 0.8:
        assert abs(longer - 2 * short) < timedelta(milliseconds=1)
    assert wait(after(failure, attempts=0, jitter=jitter)) <= FIRST * 1.2


@given(ATTEMPTS, JITTERS)
def test_jitter_spreads_but_keeps_the_size(attempts, jitter):
    middle = wait(after(ApiFailure.UNAVAILABLE, attempts=attempts, jitter=0.5))
    assert (
        0.79 * middle
        <= wait(after(ApiFailure.UNAVAILABLE, attempts=attempts, jitter=jitter))
        <= 1.21 * middle
    )


@given(ATTEMPTS, JITTERS, ASKED)
def test_waiting_for_our_turn_is_no_attempt_and_does_not_grow(attempts, jitter, asked):
    plan = after(ApiFailure.THROTTLED, attempts=attempts, jitter=jitter, retry_after=asked)
    assert isinstance(plan, Again)
    assert not plan.counts
    assert plan == after(ApiFailure.THROTTLED, attempts=0, jitter=jitter, retry_after=asked)
    assert wait(plan) <= GIVE_UP * 1.1


def test_everything_else_counts():
    for failure in sorted(PASSING - {ApiFailure.THROTTLED}):
        plan = after(failure)
        assert isinstance(plan, Again)
        assert plan.counts


def test_what_is_missing_may_only_not_be_copied_yet():
    assert wait(after(ApiFailure.MISSING, since=NOW - REPLICA_LAG + timedelta(seconds=1))) == timedelta(
        seconds=15
    )
    assert isinstance(after(ApiFailure.MISSING, since=NOW - REPLICA_LAG), Over)
