"""Has a source gone quiet against its own habit? Robust counting, no model.

The habit of an hour of the week (UTC) is the median of what came in that hour in the last four weeks, so that one
odd week says nothing. Looking back from now, hour by hour, hours are added up until `ENOUGH` would usually have come:
a busy source is judged by its last hour, one that is told of ten things a day by two or three days. It is quiet when
at most a tenth of that came, and less than in each of those weeks: a silence that has its like in them is a habit, too.

If webhooks came by chance alone (Poisson), at most 2 where 20 are usual would happen once in two million looks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

WEEKS = 4
FEWEST_WEEKS = 3
"""A source that is younger has no habit yet."""

ENOUGH = 20
LONGEST = 72
"""Hours. Where not even then enough usually comes, silence means nothing."""

SILENCE = 0.1

HOUR, WEEK = timedelta(hours=1), timedelta(weeks=1)


@dataclass(frozen=True, slots=True)
class Quiet:
    """In the last `hours` only `came` webhooks came, where about `usual` do."""

    hours: int
    came: int
    usual: float


def quiet(
    counts: Mapping[datetime, int], until: datetime, first: datetime, is_holiday: Callable[[datetime], bool]
) -> Quiet | None:
    """Whether the source is quiet now; None when it is not, or when nobody can tell.

    :param counts: webhooks by the hour in which they came
    :param until: the end of the last full hour
    :param first: the hour of the source's first webhook ever
    :param is_holiday: whether an hour lies on a day on which usual habits do not count
    """
    came, usual = 0, 0.0
    by_week = dict.fromkeys(range(1, WEEKS + 1), 0)
    for back in range(1, LONGEST + 1):
        hour = until - back * HOUR
        weeks = [week for week in by_week if hour - week * WEEK >= first]
        if len(weeks) < FEWEST_WEEKS or is_holiday(hour):
            return None
        came += counts.get(hour, 0)
        then = {week: counts.get(hour - week * WEEK, 0) for week in weeks}
        usual += median(then.values())
        by_week = {week: by_week[week] + number for week, number in then.items()}
        if usual >= ENOUGH:
            silent = came <= SILENCE * usual and came < min(by_week.values())
            return Quiet(back, came, usual) if silent else None
    return None
