"""Are credentials, limits and refusals what the settings and Zendesk say?"""

import pytest
from gateway_plugins import zendesk

from gateway.api import (
    AddComment,
    AddTags,
    Answer,
    ApiError,
    ApiFailure,
    Priority,
    SetPriority,
    SetStatus,
    Status,
    TicketRef,
)

WHY = "a test"


def test_an_api_token_opens_the_door_too(open_desk):
    legacy = {"oauth_token": None, "email": "ana.souza@desk.example", "api_token": "sandbox-api-token"}
    desk = open_desk(settings=legacy)
    assert desk.api.get("/users/me.json").body["user"]["id"] == 90001


@pytest.mark.parametrize(
    "wrong", [{"oauth_token": "old"}, {"oauth_token": None, "email": "a@desk.example", "api_token": "old"}]
)
def test_wrong_credentials_are_unauthorized(open_desk, wrong):
    with pytest.raises(ApiError) as refused:
        open_desk(settings=wrong).api.get("/users/me.json")
    assert refused.value.failure is ApiFailure.UNAUTHORIZED
    assert "old" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"oauth_token": None}, "give oauth_token"),
        ({"api_token": "x", "email": "a@desk.example"}, "not both"),
        ({"oauth_token": None, "email": "a@desk.example"}, "both email and api_token"),
        ({"subdomain": "evil.example/"}, "subdomain"),
    ],
)
def test_settings_are_refused_with_the_reason(connected, settings, said):
    with pytest.raises(ValueError, match=said):
        connected(**settings)


def test_the_api_is_the_accounts_own_unless_said_otherwise(connected):
    api = zendesk.connect_api(connection=connected(calls_per_minute=700))
    assert api.base_url == "https://acme.zendesk.com/api/v2"
    assert api.rate.calls == 700
    assert api.headers["Accept"] == "application/json"


def test_our_own_agent_is_recognised(connected):
    assert connected(user_id="90001").settings.own_ids() == {"90001"}
    assert connected().settings.own_ids() == frozenset()


def test_the_plans_limit_is_enforced(open_desk):
    desk = open_desk(calls_per_minute=3)
    for _ in range(3):
        assert desk.http.get(
            "/api/v2/users/me.json", headers={"Authorization": "Bearer sandbox-token"}
        ).is_success
    answer = desk.http.get("/api/v2/users/me", headers={"Authorization": "Bearer sandbox-token"})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 61
    assert answer.headers["ratelimit-remaining"] == "0"
    with pytest.raises(ApiError) as throttled:
        desk.api.get("/users/me.json")
    assert throttled.value.failure is ApiFailure.THROTTLED
    assert throttled.value.retry_after > 0


def test_one_ticket_takes_thirty_updates_in_ten_minutes(open_desk):
    desk = open_desk(calls_per_minute=200)
    ref, other = desk.person_opens(), desk.person_opens()
    statuses = [
        desk.http.put(
            f"/api/v2/tickets/{ref.id}.json",
            json={"ticket": {"tags": [f"t{number}"]}},
            headers={"Authorization": "Bearer sandbox-token"},
        ).status_code
        for number in range(31)
    ]
    assert statuses == [200] * 30 + [429]
    assert desk.do(AddTags(id="a", reason=WHY, ticket=other, tags=("x",))) is not None


def test_a_closed_ticket_is_refused_in_plain_words(desk):
    ref = desk.person_opens()
    desk.person_changes(ref, status="closed")
    with pytest.raises(ApiError, match="closed and cannot be changed") as refused:
        desk.do(AddComment(id="a", reason=WHY, ticket=ref, body="Too late"))
    assert refused.value.failure is ApiFailure.REFUSED
    assert not refused.value.passing


def test_a_solve_that_needs_an_agent_says_so(open_desk):
    desk = open_desk(solve_needs_assignee=True)
    ref = desk.person_opens()
    with pytest.raises(ApiError, match="Assignee: is required"):
        desk.do(SetStatus(id="a", reason=WHY, ticket=ref, status=Status.RESOLVED))


def test_a_missing_ticket_is_missing(desk):
    with pytest.raises(ApiError) as missing:
        desk.do(SetPriority(id="a", reason=WHY, ticket=TicketRef("zd", "1"), priority=Priority.LOW))
    assert missing.value.failure is ApiFailure.MISSING


@pytest.mark.parametrize(
    ("status", "body", "failure", "said"),
    [
        (404, {"error": "RecordNotFound", "description": "Not found"}, ApiFailure.MISSING, "Not found"),
        (403, {"error": {"title": "No", "message": "way"}}, ApiFailure.UNAUTHORIZED, "No: way"),
        (401, {"error": "invalid_token", "error_description": "old"}, ApiFailure.UNAUTHORIZED, "_token: old"),
        (401, {"error": "Couldn't authenticate you"}, ApiFailure.UNAUTHORIZED, "Couldn't authenticate you"),
        (409, {"error": "UpdateConflict", "description": "stale"}, ApiFailure.CONFLICT, "Conflict: stale"),
        (429, {"error": "APIRateLimitExceeded", "description": "slow"}, ApiFailure.THROTTLED, "slow"),
        (400, {"error": "TooManyValues", "max_count": 1}, ApiFailure.REFUSED, "TooManyValues"),
        (422, {"error": "RecordInvalid", "details": {"a": [{"description": "A: is bad"}, "odd"]}},
         ApiFailure.REFUSED, "RecordInvalid: A: is bad; odd"),
        (503, None, ApiFailure.UNAVAILABLE, "error page"),
        (500, {"error": "InternalError"}, ApiFailure.UNAVAILABLE, "InternalError"),
    ],
)  # fmt: skip
def test_errors_are_read_from_the_body(status, body, failure, said):
    explained = zendesk.explain_error(response=Answer(status=status, headers={}, body=body, text=""))
    assert explained.failure is failure
    assert said in str(explained)


@pytest.mark.parametrize("body", [None, [], "x", {}, {"error": None}, {"error": 5}])
def test_an_error_that_says_nothing_leaves_it_to_the_status(body):
    assert zendesk.explain_error(response=Answer(status=404, headers={}, body=body, text="")) is None
