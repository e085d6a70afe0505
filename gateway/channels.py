"""Where may notices go, and how do they get there? Whatever Apprise knows that speaks HTTP, and e-mail.

Slow to import, and only needed where there are channels: import it where it is used.
"""

import logging
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import httpx

from gateway.apprise_http import TRACED, Outgoing, our_way
from gateway.calls import Answer, CallRecord
from gateway.client import failure_of
from gateway.clock import utc_now
from gateway.egress import EgressRefused, check_addresses, resolve
from gateway.model.errors import ApiError, ApiFailure
from gateway.ratelimits import retry_after
from gateway.redaction import Redactor, redact_url
from gateway.transport import Lost

with warnings.catch_warnings():
    # Apprise's support of PGP looks whether the module is still there, and never uses it.
    warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
    import apprise
    from apprise.plugins.email import NotifyEmail

    apprise.Apprise().add("json://localhost")  # its services are loaded when the first URL is read

# It writes down URLs and texts; what matters comes back as the error of an attempt.
logging.getLogger("apprise").propagate = False

QUOTED = 200
LIKE_A_TOKEN = 8
"""Characters of a URL's part from which on it may be a credential; what has a dot is a host or an address."""

PATIENCE = 30.0
"""Seconds that all calls of one notice may take together."""

EXPECTED = (
    "not a URL that Apprise understands; expected one such as slack://... or mailto://..., "
    "see https://appriseit.com/services/"
)
BROKEN = frozenset({ApiFailure.MISSING, ApiFailure.UNAUTHORIZED})
"""A webhook that was removed, a token that was revoked: nothing that a day of trying would mend."""

SOCKETS = frozenset({"nostr"})
"""Services that speak HTTP only by the way."""

PASSING_CODES = frozenset({
    "fatal_error", "internal_error", "message_limit_exceeded", "rate_limited", "ratelimited", "request_timeout",
    "service_unavailable",
})  # fmt: skip
"""What Slack answers with status 200 where others would with 429 or 500.
https://docs.slack.dev/reference/methods/chat.postMessage#errors"""

_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all)\b)|(?<=<)@", re.IGNORECASE)
"""What would ring at everybody's, or at whomever a customer's text names. Apprise escapes the rest."""


_PARTS = re.compile(r"[/:@#]")


@dataclass(frozen=True, slots=True)
class Sending:
    """What became of a notice: its calls, with every secret taken out, and why it did not arrive."""

    calls: tuple[CallRecord, ...]
    error: ApiError | None = None


def problem(url: str) -> str | None:
    """Why notices cannot be sent there, in one line; None when they can."""
    service = _service(url)
    return EXPECTED if service is None else _refusal(service)


def send(
    url: str, title: str, body: str, *, http: httpx.Client, allow_private: bool = False,
    resolver: Callable[[str, int], Iterable[str]] = resolve,
) -> Sending:  # fmt: skip
    """Tell `title` and `body`, which are plain text, to whoever listens at `url`. One try.

    :param http: the process's client, guarded; e-mail, which is not HTTP, has its host looked at beforehand
    """
    service = _service(url)
    if service is None:
        return Sending((), ApiError(ApiFailure.REFUSED, f"the channel's URL is {EXPECTED}"))
    if refusal := _refusal(service):
        return Sending((), ApiError(ApiFailure.REFUSED, f"the channel's URL: {refusal}"))
    redactor = Redactor(_private(service, url))
    outgoing = Outgoing(http, redactor)
    if isinstance(service, NotifyEmail):
        return _mail(service, title, body, redactor, None if allow_private else resolver)
    with our_way(outgoing):
        result = _notify(service, _MENTION.sub("@\u200b", title), _MENTION.sub("@\u200b", body))
    calls = tuple(outgoing.calls)
    return Sending(calls, None if result else _explained(service, result, outgoing.answers, redactor))


def _notify(service: Any, title: str, body: str) -> Any:
    telling = apprise.Apprise(asset=service.asset)
    telling.add(service)
    return telling.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)


def _mail(
    service: Any, title: str, body: str, redactor: Redactor,
    resolver: Callable[[str, int], Iterable[str]] | None,
) -> Sending:  # fmt: skip
    host, port = str(service.smtp_host), int(service.port or 0)
    sent_at, began = utc_now(), time.perf_counter()
    error = _unwanted(host, port, resolver) if resolver is not None else None
    if error is None and not (result := _notify(service, title, body)):
        error = _explained(service, result, (), redactor)
    call = CallRecord(
        at=sent_at, method="SMTP", url=f"smtp://{host}:{port}", request=redactor.excerpt(body, TRACED),
        status=None if error else 250, answer="", seconds=time.perf_counter() - began, number=1,
        error=str(error) if error else None,
    )  # fmt: skip
    return Sending((call,), error)


def _unwanted(host: str, port: int, resolver: Callable[[str, int], Iterable[str]]) -> ApiError | None:
    """smtplib opens its own connection: its host is looked at just before."""
    try:
        check_addresses(host, resolver(host, port))
    except EgressRefused as refused:
        return refused
    except OSError as unknown:
        return ApiError(ApiFailure.UNREACHABLE, f"e-mail: {host}: {unknown}")
    return None


def _service(url: str) -> Any:
    """Apprise's plugin for this URL; None where there is none."""
    asset = apprise.AppriseAsset(
        app_id="helpdesk-gateway",
        app_desc="helpdesk-gateway",
        app_url="",
        image_url_mask="",  # or messages would fetch a picture from elsewhere
        image_url_logo="",
        async_mode=False,
        http_redirects=False,
        interpret_emojis=False,
        pgp_autogen=False,
        pem_autogen=False,
        language="en",
        storage_mode="memory",
        service_timeout=PATIENCE,
    )
    return apprise.Apprise.instantiate(url, asset=asset)


def _refusal(service: Any) -> str | None:
    schema = str(service.schema)
    module = sys.modules[type(service).__module__]
    speaks_http = hasattr(module, "requests") and schema not in SOCKETS
    if not speaks_http and not isinstance(service, NotifyEmail):
        return f"{schema}:// is not sent to; only services that are reached by HTTP, and e-mail"
    if any(isinstance(value, apprise.AppriseAttachment) and value for value in vars(service).values()):
        return f"{schema}:// would read a file of this machine: leave `template` and `keyfile` out"
    if getattr(service, "pgp_key", None) or getattr(service, "pgp_privkey", None):
        return f"{schema}:// would read a file of this machine: leave `pgppub` and `pgpprv` out"
    return None


def _private(service: Any, url: str) -> set[str]:
    """What of the URL nobody may see: what the service calls private, and every part that may be a credential."""
    found = {str(service.password)} if service.password else set()
    for name, described in {**service.template_tokens, **service.template_args}.items():
        value = getattr(service, described.get("map_to", name), None)
        if described.get("private") and isinstance(value, str):
            found.add(value)
    parts = _PARTS.split(url.partition("://")[2].partition("?")[0])
    found.update(part for part in map(unquote, parts) if len(part) >= LIKE_A_TOKEN and "." not in part)
    return found


def _explained(service: Any, result: Any, answers: Sequence[Answer | Lost], redactor: Redactor) -> ApiError:
    """Why the notice did not arrive, in the terms that decide whether it is sent again."""
    said = [entry.message for each in result.results for entry in each.logs()]
    words = redactor.url(redact_url(" ".join((said[-1] if said else "it was not accepted").split())))
    what = f"{service.service_name}: {words}"
    fine = [isinstance(each, Answer) and 200 <= each.status < 300 for each in answers]
    last = answers[-1 - fine[::-1].index(False)] if False in fine else None
    match last:  # where a channel has several receivers, some may have been told
        case Lost():
            return ApiError(last.failure, f"{what} ({last})", uncertain=last.sent or True in fine)
        case Answer():
            quoted = redactor.excerpt(" ".join(last.text.split()), QUOTED)
            failure = failure_of(last.status)
            return ApiError(
                ApiFailure.REFUSED if failure in BROKEN else failure,
                f"{what}: {quoted}" if quoted else what,
                status=last.status,
                retry_after=retry_after(last.headers, utc_now()),
                uncertain=True in fine,
            )
    if result.status == apprise.AppriseResultStatus.TIMEOUT:
        return ApiError(ApiFailure.UNANSWERED, what, uncertain=True)
    return _refused(service, what, answers, redactor)


def _refused(service: Any, what: str, answers: Sequence[Answer | Lost], redactor: Redactor) -> ApiError:
    """No call failed, and yet it did not arrive: e-mail, and those who refuse with status 200."""
    if not answers:
        failure = ApiFailure.UNAVAILABLE if isinstance(service, NotifyEmail) else ApiFailure.REFUSED
        return ApiError(failure, what)
    body = answers[-1].body if isinstance(answers[-1], Answer) else None
    code = str(body.get("error", "")) if isinstance(body, dict) else ""
    failure = ApiFailure.UNAVAILABLE if code in PASSING_CODES else ApiFailure.REFUSED
    return ApiError(failure, redactor.url(f"{what}: {code}") if code else what)
