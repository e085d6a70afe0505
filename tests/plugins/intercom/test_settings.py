"""Are a connection's settings refused where they would do harm, and do they lead to the right host?"""

import pytest
from gateway_plugins import intercom
from pydantic import ValidationError


@pytest.mark.parametrize(
    "wrong",
    [
        {"region": "br"}, {"app_id": "a/b"}, {"app_id": ""}, {"admin_id": "rui"}, {"client_secret": []},
        {"ticket_type_id": "x"}, {"open_as": "nobody"}, {"calls_per_minute": 0}, {"snooze_hours": 0},
        {"priorities": {"top": "x"}}, {"unknown": 1}, {"base_url": "ftp://x"},
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(connected, wrong):
    with pytest.raises(ValidationError):
        connected(**wrong)


@pytest.mark.parametrize(
    ("settings", "api", "inbox"),
    [
        ({}, "https://api.intercom.io", "https://app.intercom.com"),
        ({"region": "eu"}, "https://api.eu.intercom.io", "https://app.eu.intercom.com"),
        ({"region": "au"}, "https://api.au.intercom.io", "https://app.au.intercom.com"),
        ({"region": "eu", "base_url": "http://127.0.0.1:8080/"}, "http://127.0.0.1:8080", "https://app.eu.intercom.com"),
    ],
)  # fmt: skip
def test_each_region_has_its_hosts(connected, settings, api, inbox):
    connection = connected(**settings)
    assert intercom.connect_api(connection=connection).base_url == api
    assert connection.settings.inbox_url("7").startswith(f"{inbox}/a/inbox/abc123/")


def test_every_call_says_who_we_are_and_in_which_version(connected):
    api = intercom.connect_api(connection=connected())
    assert api.headers["Authorization"] == "Bearer a-token"
    assert api.headers["Intercom-Version"] == "2.15"


def test_the_limit_of_a_minute_is_spent_by_tens_of_seconds(connected):
    rate = intercom.connect_api(connection=connected(calls_per_minute=1000)).rate
    assert (rate.calls, rate.seconds) == (166, 10)


def test_secrets_do_not_show(connected):
    settings = connected(client_secret=["one-secret", "another"]).settings
    assert "secret" not in f"{settings!r}".replace("client_secret", "").replace("SecretStr", "")
    assert "a-token" not in repr(settings)


def test_our_own_teammate_is_known(connected):
    assert connected(admin_id="42").settings.own_ids() == {"42"}


def test_a_team_without_a_name_goes_by_its_id(connected):
    settings = connected(teams={"Suporte": "801"}).settings
    assert (settings.team_name("801"), settings.team_name("9")) == ("Suporte", "9")
