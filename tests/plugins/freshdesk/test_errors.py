"""Is it understood why Freshdesk refused, and what that means for the next attempt?"""

import pytest
from gateway_plugins import freshdesk
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import Answer, ApiError, ApiFailure, SetPriority, TicketRef

DUPLICATE = {
    "description": "Validation failed",
    "errors": [{"field": "email", "message": "It should be a unique value", "code": "duplicate_value",
                "additional_info": {"user_id": 43000009}}],
}  # fmt: skip


def explain(status, body):
    return freshdesk.explain_error(response=Answer(status=status, headers={}, body=body, text=""))


@pytest.mark.parametrize(("status", "body", "failure", "said"), [
    (400, {"description": "Validation failed", "errors": [
        {"field": "status", "message": "It should be one of these", "code": "invalid_value"},
        {"field": "cf_x", "code": "invalid_field"}, "odd"]},
     ApiFailure.REFUSED, "status: It should be one of these (invalid_value); cf_x (invalid_field)"),
    (400, {"code": "invalid_json", "message": "Bad"}, ApiFailure.REFUSED, "invalid_json: Bad"),
    (400, {"description": "Validation failed", "errors": []}, ApiFailure.REFUSED, "Validation failed"),
    (400, {"errors": [{"code": "missing_field"}]}, ApiFailure.REFUSED, "missing_field"),
    (401, {"code": "invalid_credentials", "message": "Log in"}, ApiFailure.UNAUTHORIZED, "invalid_credentials"),
    (403, {"code": "access_denied", "message": "No"}, ApiFailure.UNAUTHORIZED, "access_denied: No"),
    (404, {"message": "gone"}, ApiFailure.MISSING, "gone"),
    (405, {"message": "PUT is not allowed"}, ApiFailure.REFUSED, "not allowed"),
    (409, {"code": "inconsistent_state", "message": "x"}, ApiFailure.CONFLICT, "inconsistent_state"),
    (415, {"code": "invalid_content_type"}, ApiFailure.REFUSED, "invalid_content_type"),
    (429, {"message": "You have exceeded"}, ApiFailure.THROTTLED, "exceeded"),
    (500, {"code": "internal_error", "message": "x"}, ApiFailure.UNAVAILABLE, "internal_error"),
])  # fmt: skip
def test_reasons_are_read_from_the_body(status, body, failure, said):
    explained = explain(status, body)
    assert explained.failure is failure
    assert said in str(explained)


@pytest.mark.parametrize("status", [400, 409])
def test_a_duplicate_names_who_is_there_and_is_no_passing_conflict(status):
    explained = explain(status, DUPLICATE)
    assert (explained.failure, explained.existing) == (ApiFailure.REFUSED, "43000009")


@pytest.mark.parametrize("body", [None, [], "x", {}, {"code": None}, {"errors": 5}, {"errors": [{}]}])
def test_an_answer_that_says_nothing_leaves_it_to_the_status(body):
    assert explain(404, body) is None
    assert explain(200, {"message": "fine"}) is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
error = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("field", "message", "code", "additional_info"), anything | st.just("duplicate_value")
    ),
)


@given(
    st.integers(400, 599),
    st.fixed_dictionaries(
        {},
        optional={
            "code": anything,
            "message": anything,
            "description": anything,
            "errors": st.lists(error) | anything,
        },
    ),
)
def test_any_body_is_explained_or_left_to_its_status(status, body):
    explained = explain(status, body)
    assert explained is None or len(str(explained)) <= 500


@pytest.mark.parametrize(("fault", "failure", "uncertain"), [
    ({"status": 400}, ApiFailure.REFUSED, False), ({"status": 401}, ApiFailure.UNAUTHORIZED, False),
    ({"status": 403}, ApiFailure.UNAUTHORIZED, False), ({"status": 404}, ApiFailure.MISSING, False),
    ({"status": 409}, ApiFailure.CONFLICT, False), ({"status": 422}, ApiFailure.REFUSED, False),
    ({"status": 429, "retry_after": 30}, ApiFailure.THROTTLED, False), ({"status": 500}, ApiFailure.UNAVAILABLE, False),
    ({"kind": "drop"}, ApiFailure.UNANSWERED, True),
])  # fmt: skip
def test_every_failure_of_a_call_is_classified(sandbox, fault, failure, uncertain):
    sandbox.misbehave(**{"kind": "status", "method": "PUT", **fault})
    with pytest.raises(ApiError) as failed:
        sandbox.do(SetPriority(id="a", reason="a test", ticket=TicketRef("fd", "4711"), priority="high"))
    assert (failed.value.failure, failed.value.uncertain) == (failure, uncertain)
    assert "sandbox-key" not in str(failed.value)
