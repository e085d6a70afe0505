"""Does the conformance suite notice what is wrong with a plugin? The scaffold's, which passes, is broken bit by bit."""

import importlib
import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import scaffold
from gateway.api import Priority, Status
from gateway.testing import SenderConformance, VendorConformance
from gateway.testing.desk import desk_of
from gateway.testing.failing import LATE

NUMBERS = itertools.count(1)
NOTICED = (pytest.fail.Exception, Exception)
"""A test fails by whatever it raises."""

Suite = Callable[..., VendorConformance]


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Suite]:
    """The scaffold's suite, with one place of the plugin changed: `suite("accept.py", old, new)`."""
    names: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))

    def broken(file: str = "", old: str = "", new: str = "") -> VendorConformance:
        name = f"broken_desk_{next(NUMBERS)}"
        names.append(name)
        folder = scaffold.write_vendor(name, tmp_path)
        sys.path.insert(0, str(folder))
        if file:
            path = folder / name / file
            text = path.read_text()
            assert text.count(old) == 1, f"{old!r} is not once in {file}"
            path.write_text(text.replace(old, new))
        importlib.invalidate_caches()
        spec = importlib.util.spec_from_file_location(
            f"{name}_tests", folder / "tests" / "test_conformance.py"
        )
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found: VendorConformance = module.TestConformance()
        type(found).examples = 100
        return found

    yield broken
    for loaded in [module for module in sys.modules if module.partition(".")[0] in names]:
        del sys.modules[loaded]
    sys.path[:] = [path for path in sys.path if not path.startswith(str(tmp_path))]


def run(suite: VendorConformance, test: str, *given: Any) -> None:
    """One test of the suite; with a desk where it wants one."""
    method = getattr(suite, f"test_{test}")
    if "desk" in method.__code__.co_varnames[: method.__code__.co_argcount]:
        with desk_of(suite) as desk:
            method(desk, *given)
    else:
        method(*given)


NEVER = "if False:"
ALL_CAUGHT = "except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:"
OVERTAKEN = "if before is not None and _updated(after) < _updated(before):"

BROKEN: list[tuple[str, str, str, str, tuple[Any, ...]]] = [
    # file, what stands there, what stands there instead, the test that notices, its arguments
    ("accept.py", "if not any(matches):", "if not claimed:", "what_is_altered_by_one_byte_is_refused", ()),
    ("accept.py", "if not any(matches):", "if claimed and not any(matches):",
     "what_is_altered_by_one_byte_is_refused", ()),
    ("accept.py", 'b"." + body', 'b"."', "what_is_altered_by_one_byte_is_refused", ()),
    ("accept.py", "sent_at.encode() + ", "", "what_is_altered_by_one_byte_is_refused", ()),
    ("accept.py", "    fresh(moment, webhook.received_at)\n", "", "what_is_stale_is_refused", ()),
    ("accept.py", "raise WebhookRejected(\"wrong", "raise KeyError(\"wrong", "what_is_unsigned_is_refused",
     ("created",)),
    ("accept.py", 'raise WebhookRejected("wrong or missing signature")',
     'raise WebhookRejected(f"wrong: {secrets[0].get_secret_value()}")',
     "what_is_unsigned_is_refused", ("created",)),
    ("accept.py", "delivery_id=delivery if", "delivery_id=None if", "what_is_replayed_is_known_by_its_delivery_id",
     ("created",)),
    ("accept.py", "delivery_id=delivery if", "delivery_id=sent_at if",
     "what_is_replayed_is_known_by_its_delivery_id", ("created",)),
    ("accept.py", "delivery_id=delivery if", 'delivery_id="evt" if', "different_deliveries_have_different_ids", ()),
    ("accept.py", "except (ValueError, RecursionError):", "except RecursionError:",
     "bytes_of_any_sort_are_unreadable_at_worst", ()),
    ("accept.py", "return parsed if isinstance(parsed, dict) else {}", "return parsed",
     "json_of_any_shape_is_unreadable_at_worst", ()),
    ("convert.py", ALL_CAUGHT, "except LookupError as error:",
     "samples_with_anything_inside_are_unreadable_at_worst", ()),
    ("convert.py", ALL_CAUGHT, "except LookupError as error:",
     "a_collected_ticket_of_another_shape_is_unreadable_at_worst", ()),
    ("convert.py", "return [_unrecognized(body)]", "return []", "a_kind_without_a_word_of_ours_is_kept", ()),
    ("convert.py", "return [_unrecognized(body)]", 'raise UnreadableWebhook("what?")',
     "a_kind_without_a_word_of_ours_is_kept", ()),
    ("convert.py", 'subject=source["subject"],', 'subject=str(hash(source["subject"])),',
     "another_process_gives_the_same_events", ()),
    ("convert.py", 'subject=source["subject"],', 'subject=str(object()),',
     "the_same_webhook_gives_the_same_events", ()),
    ("convert.py", OVERTAKEN, NEVER, "webhooks_in_any_order_end_in_the_newer_state", ()),
    ("convert.py", 'source["public"] is not True', "False", "an_action_is_carried_out_and_found_again",
     ("AddComment",)),
    ("convert.py", 'author=_person(source["author"])', 'author=Person(id="u-1")',
     "what_a_person_writes_is_not_taken_for_ours", ()),
    ("convert.py", '"paused": Status.ON_HOLD', '"paused": Status.PENDING', "a_status_comes_back_as_it_was_set",
     (Status.ON_HOLD,)),
    ("convert.py", '"top": Priority.URGENT', '"top": Priority.HIGH', "a_priority_comes_back_as_it_was_set",
     (Priority.URGENT,)),
    ("__init__.py", "return frozenset({self.user_id})", "return frozenset()",
     "an_action_of_ours_comes_back_as_ours", ("CreateTicket",)),
    ("__init__.py", "calls=settings.calls_per_minute", "calls=1000", "the_rate_limit_is_honoured", ()),
    ("__init__.py", "    token: SecretStr\n", "    token: SecretStr\n    api_key: str = 'x'\n",
     "settings_that_sound_like_secrets_are_kept_as_secrets", ()),
    ("collect.py", "for row in found:", "for row in ():", "a_changed_ticket_is_listed", ()),
    ("collect.py", "for row in found:", "for row in found * 2:", "a_changed_ticket_is_listed", ()),
    ("collect.py", 'datetime.fromisoformat(row["updated_at"])', "since.replace(year=2000)",
     "a_changed_ticket_is_listed", ()),
    ("sandbox.py", 'sorted(set(ticket["tags"]))', 'sorted({tag.lower() for tag in ticket["tags"]})',
     "a_tag_comes_back_as_it_is_spelled", ("VIP",)),
    ("execute.py", 'sorted({*stored["tags"], *tags})', "sorted(tags)", "an_action_is_carried_out_and_found_again",
     ("AddTags",)),
    ("execute.py", '"external_id": action.id,\n            }', "}", "an_action_is_carried_out_and_found_again",
     ("AddComment",)),
    ("execute.py", '/comments", json=comment)', '/comments", json=comment, repeatable=True)',
     "an_interrupted_action_has_one_effect", ("AddComment", "drop")),
    ("execute.py", '/comments", json=comment)', '/comments", json=comment, repeatable=True)',
     "an_interrupted_action_has_one_effect", ("AddComment", "slow")),
    ("execute.py", 'return Receipt(remote_id=str(found[0]["id"]), url=found[0]["url"]) if found else None',
     "return None", "an_interrupted_action_has_one_effect", ("CreateTicket", "drop")),
    ("execute.py", 'return Receipt(remote_id=str(found[0]["id"]), url=found[0]["url"]) if found else None',
     'return Receipt(remote_id="1")', "an_action_is_carried_out_and_found_again", ("CreateTicket",)),
    ("execute.py", 'return {"priority": PRIORITIES[priority]}', "return None",
     "an_action_is_carried_out_and_found_again", ("SetPriority",)),
    ("execute.py", "        case SaveContact(contact=contact):\n            saved",
     "        case SaveContact(contact=contact) if False:\n            saved",
     "an_action_is_carried_out_and_found_again", ("SaveContact",)),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "test", "given"), BROKEN)
def test_what_is_broken_is_noticed(
    suite: Suite, file: str, old: str, new: str, test: str, given: tuple[Any, ...]
) -> None:
    with pytest.raises(NOTICED):
        run(suite(file, old, new), test, *given)


def test_each_of_these_tests_passes_when_nothing_is_broken(suite: Suite) -> None:
    whole = suite()
    for test, given in {(test, given) for *_, test, given in BROKEN}:
        run(whole, test, *given)


EXPLAINED = """
@hookimpl
def explain_error(response):
    from gateway.api import ApiError, ApiFailure
    return ApiError(ApiFailure.REFUSED, "no")
"""


def test_a_failure_taken_for_another_is_noticed(suite: Suite) -> None:
    wrong = suite("__init__.py", "@hookimpl\ndef list_changed", f"{EXPLAINED}\n\n@hookimpl\ndef list_changed")
    with pytest.raises(AssertionError):
        run(wrong, "a_refusal_is_told_apart", 429)


def test_a_time_out_taken_for_success_is_noticed(suite: Suite) -> None:
    wrong = suite(
        "execute.py", '            made = api.call("POST", "/tickets"',
        '            try:\n                api.get("/me")\n            except ApiError:\n'
        "                return Receipt()\n"
        '            made = api.call("POST", "/tickets"',
    )  # fmt: skip
    with pytest.raises(AssertionError):
        run(wrong, "an_answer_that_never_comes_is_told_apart", {"kind": "slow", "seconds": LATE})


def test_a_secret_in_an_error_is_noticed(
    suite: Suite, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    shown = suite(
        "collect.py", '    return api.get(f"/tickets/{ref.id}").body',
        "    from gateway.api import ApiError\n    try:\n"
        '        return api.get(f"/tickets/{ref.id}").body\n    except ApiError as error:\n'
        "        token = api.connection.settings.token.get_secret_value()\n"
        '        raise ApiError(error.failure, f"{error} (token {token})") from error',
    )  # fmt: skip
    with pytest.raises(AssertionError, match="a secret is shown"):
        shown.test_no_secret_is_shown(capfd, caplog)


def test_a_secret_in_the_log_is_noticed(
    suite: Suite, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logged = suite(
        "collect.py", '    return api.get(f"/tickets/{ref.id}").body',
        "    import logging\n    token = api.connection.settings.token.get_secret_value()\n"
        '    logging.getLogger("plugin").debug("with %s", token)\n    return api.get(f"/tickets/{ref.id}").body',
    )  # fmt: skip
    with pytest.raises(AssertionError, match="a secret is shown"):
        logged.test_no_secret_is_shown(capfd, caplog)


# --- declarations -----------------------------------------------------------------------------------------------


def declared(suite: Suite, **told: Any) -> VendorConformance:
    found = suite()
    for name, value in told.items():
        setattr(type(found), name, value)
    return found


@pytest.mark.parametrize(
    ("what", "test", "given"),
    [
        ("SetPriority", "an_action_is_carried_out_and_found_again", ("SetPriority",)),
        ("stale", "what_is_stale_is_refused", ()),
        ("replayed", "what_is_replayed_is_known_by_its_delivery_id", ("created",)),
        ("unknown", "a_kind_without_a_word_of_ours_is_kept", ()),
        ("echo", "an_action_of_ours_comes_back_as_ours", ("AddComment",)),
        ("list_changed", "a_changed_ticket_is_listed", ()),
    ],
)
def test_what_is_declared_unsupported_must_be_so(suite: Suite, what: str, test: str, given: Any) -> None:
    with pytest.raises(NOTICED):
        run(declared(suite, unsupported={what: "so they say"}), test, *given)


@pytest.mark.parametrize("unsupported", [{"SetPriorities": "a slip"}, {"SetPriority": " "}])
def test_a_declaration_is_spelled_right_and_explained(suite: Suite, unsupported: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        run(declared(suite, unsupported=unsupported), "what_is_unsupported_is_named_and_explained")


def test_a_word_that_is_said_to_become_another_must(suite: Suite) -> None:
    with pytest.raises(AssertionError):
        run(
            declared(suite, becomes={Status.NEW: Status.OPEN}),
            "a_status_comes_back_as_it_was_set",
            Status.NEW,
        )


def test_an_action_that_is_neither_given_nor_declared_is_missed(suite: Suite) -> None:
    silent = declared(suite, actions=lambda _self, _ticket: iter(()))
    with pytest.raises(AssertionError, match="gives no AddTags"):
        run(silent, "an_action_is_carried_out_and_found_again", "AddTags")


def test_a_system_that_only_sends_must_do_nothing(suite: Suite) -> None:
    whole = suite()
    sender = SimpleNamespace(registry=whole.registry, name=whole.name)
    with pytest.raises(AssertionError, match="subclass VendorConformance"):
        SenderConformance.test_nothing_is_done_at_it(sender)  # type: ignore[arg-type]


def test_the_suite_is_found_only_where_it_is() -> None:
    import gateway.testing

    with pytest.raises(AttributeError, match="no attribute 'Conformance'"):
        _ = gateway.testing.Conformance
