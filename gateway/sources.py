"""Which connections send as they always do, and which have gone quiet?"""

from datetime import datetime, timedelta

import structlog

from gateway.habits import HOUR, LONGEST, WEEK, WEEKS, Quiet, quiet
from gateway.runtime import Runtime
from gateway.store import actions, incidents, reconciliations, traffic
from gateway.store.reconciliations import Name
from gateway.store.tenants import Company

log = structlog.get_logger(__name__)

QUIET = "quiet_source"
"""The kind of these incidents; their subject is the connection."""


def watch(runtime: Runtime) -> None:
    """Count what came; once an hour, compare it with what usually does."""
    now = runtime.clock()
    with runtime.db.begin() as db:
        came = traffic.count(db, now)
        for over in incidents.close(db, QUIET, came, now):
            log.info("source_back", tenant=over.tenant, connection=over.subject)
        if not traffic.is_new_hour(db, now):
            return
        traffic.forget(db, now)
        reconciliations.forget(db, now)
        companies = runtime.directory.current(db).companies
        counts = traffic.by_hour(db, now - WEEKS * WEEK - (LONGEST + 1) * HOUR)
        for (tenant, name), by_hour in sorted(counts.items()):
            company = companies.get(tenant)
            if company is None or name not in company.connections:
                continue
            found = judged(by_hour, now, company)
            if found is not None:
                log.warning(
                    "source_quiet", tenant=tenant, connection=name, hours=found.hours, came=found.came
                )
                actions.open_incident(
                    db, tenant=tenant, kind=QUIET, subject=name, message=_message(name, found), now=now
                )


def judged(by_hour: dict[datetime, int], now: datetime, company: Company) -> Quiet | None:
    """What is known of a source ends with the last full hour."""
    calendar = company.calendar

    def is_holiday(hour: datetime) -> bool:
        day = calendar.local(hour).date()
        return day.weekday() in calendar.weekdays and not calendar.is_working_day(day)

    until = now.replace(minute=0, second=0, microsecond=0)
    return quiet(by_hour, until, min(by_hour), is_holiday)


def _message(name: str, found: Quiet) -> str:
    came = "no webhook" if found.came == 0 else f"{found.came} webhook{'s' if found.came > 1 else ''}"
    span = "in the last hour" if found.hours == 1 else f"in the last {found.hours} hours"
    return (
        f"{name} has gone quiet: {came} {span}, where about {found.usual:.0f} are usual at this time of the week. "
        "Is it still switched on at the vendor, and is the address right?"
    )


def described(runtime: Runtime, name: Name) -> dict[str, object]:
    """For people: when a webhook last came, and how this day compares with the same a week ago."""
    now = runtime.clock()
    day = timedelta(days=1)
    with runtime.db.connect() as db:
        alarm = incidents.open_ones(db, QUIET).get(name)
        return {
            "last_hour_with_webhooks": traffic.newest(db, name),
            "last_24_hours": traffic.between(db, name, now - day, now),
            "same_a_week_ago": traffic.between(db, name, now - WEEK - day, now - WEEK),
            "quiet": alarm.message if alarm is not None else None,
        }
