"""How does a test call a vendor's sandbox through the client that production uses?"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gateway.client import ApiClient, http_client
from gateway.governor import LocalGovernor
from gateway.model.connection import Connection, RateLimit
from gateway.redaction import secret_values
from gateway.registry import assemble


def api_for(
    vendor_module: Any,
    connection: Connection[Any],
    *,
    rate: RateLimit | None = None,
    timeout: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> ApiClient:
    """A real client to the connection's address: private targets allowed, paced in this process only.

    :param vendor_module: the plugin, e.g. `gateway_plugins.zendesk`
    :param rate: another rate than the vendor's own, where a test makes more calls than it allows
    :param timeout: another time-out than the vendor's own, in seconds, where a test waits for it
    :param sleep: how it waits between two tries
    """
    registry = assemble({connection.vendor: vendor_module}, {})
    api = registry.ask(connection.vendor, "connect_api", connection=connection)
    if timeout is not None:
        api = replace(api, timeout=timeout)
    return ApiClient(
        connection,
        api,
        http=http_client(allow_private=True),
        governor=LocalGovernor(rate or api.rate),
        explain=lambda answer: registry.ask(connection.vendor, "explain_error", response=answer),
        secrets=secret_values(connection.settings),
        sleep=sleep,
    )
