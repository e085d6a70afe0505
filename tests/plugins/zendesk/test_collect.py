"""Is everything read back from Zendesk, and every changed ticket named?"""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from gateway_plugins import zendesk

from gateway.api import ApiError, ApiFailure


def moment_of(ticket):
    return datetime.fromtimestamp(ticket["generated_timestamp"], UTC)


def test_all_pages_of_comments_are_collected_in_order(open_desk):
    desk = open_desk(largest_page=2)
    ref = desk.person_opens()
    for number in range(4):
        desk.person_changes(ref, comment={"body": f"no. {number}", "public": True, "author": "agent"})
    bodies = [comment.body for comment in desk.snapshot(ref).comments]
    assert bodies == ["Where is it?", "no. 0", "no. 1", "no. 2", "no. 3"]


def test_a_deleted_ticket_is_missing(desk):
    ref = desk.person_opens()
    desk.person_changes(ref, deleted=True)
    with pytest.raises(ApiError) as gone:
        desk.collect(ref)
    assert gone.value.failure is ApiFailure.MISSING


def test_every_changed_ticket_is_listed_once_over_all_pages(open_desk):
    desk = open_desk(largest_page=2, export_delay=0)
    refs = [desk.person_opens() for _ in range(5)]
    desk.person_changes(refs[0], deleted=True)
    listed = list(zendesk.list_changed(since=moment_of(desk.tickets()[0]), api=desk.api))
    assert sorted(listed) == sorted(refs)


def test_the_last_minute_is_left_to_the_next_look(desk):
    desk.person_opens()
    opened = moment_of(desk.tickets()[0])
    assert list(zendesk.list_changed(since=opened - timedelta(minutes=5), api=desk.api)) == []


def test_a_look_overlaps_the_one_before_as_the_export_lags_behind(open_desk):
    """Zendesk refuses to start in the last minute, and did not tell of it at the last look."""
    desk = open_desk(export_delay=60)
    desk.person_opens()
    assert list(zendesk.list_changed(since=moment_of(desk.tickets()[0]), api=desk.api)) == []
    desk = open_desk(export_delay=0)
    ref = desk.person_opens()
    a_minute_on = moment_of(desk.ticket(ref)) + timedelta(seconds=60)
    assert list(zendesk.list_changed(since=a_minute_on, api=desk.api)) == [ref]


def test_a_ticket_that_changes_while_it_is_listed_is_named_once(open_desk):
    desk = open_desk(largest_page=1, export_delay=0)
    refs = [desk.person_opens() for _ in range(3)]
    listed = zendesk.list_changed(since=moment_of(desk.tickets()[0]), api=desk.api)
    first = next(listed)
    desk.person_changes(first, status="pending")
    assert [first, *listed] == refs


def test_a_long_list_stops_where_the_export_allows_no_more_calls(open_desk):
    """Ten a minute, far below the account's own limit."""
    desk = open_desk(largest_page=1, export_delay=0, calls_per_minute=200)
    refs = [desk.person_opens() for _ in range(11)]
    listed = zendesk.list_changed(since=moment_of(desk.tickets()[0]), api=desk.api)
    assert list(islice(listed, 10)) == refs[:10]
    with pytest.raises(ApiError) as stopped:
        next(listed)
    assert stopped.value.failure is ApiFailure.THROTTLED
    assert 0 < stopped.value.retry_after <= 61
