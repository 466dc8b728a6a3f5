"""What was spent of days and months: the sums in the database, and what this process has spent and not yet written.

The sums are read when the process starts and every few seconds; between, and while the database is away, the last ones
go on. So a budget survives restarts, and what other processes spent of it without Redis is seen within seconds.
"""

import asyncio
import contextlib
import datetime as dt
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from channels.db import database_sync_to_async
from django.db import Error
from django.db.models import F, Sum
from django.utils import timezone

from gateway.auth import keys
from gateway.limits.claims import RULES, Kind, Spent, cost_units, has_budgets, period_of
from gateway.models import UsageHour, UsageRecord

logger = logging.getLogger(__name__)

READ_SECONDS = 5.0
EARLIER_SECONDS = 300.0
"""How long the sums of the month's days before this one are good for: little is written to them."""

Account = tuple[str, str]
"""A subject and a day or month."""
_PERIODS = tuple({rule.period: rule for rule in RULES.values() if rule.kind is Kind.BUDGET}.values())


class Ledger:
    """What each subject spent; asked on the hot path, where nothing waits for the database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held for a few operations in memory
        self._database = threading.Lock()  # held while sums are read or written, so that neither misses the other
        self._asking = threading.Lock()  # held while a request waits for sums that were never read
        self._subjects: frozenset[str] = frozenset()
        self._sums: dict[Account, Spent] = {}
        self._unwritten: dict[Account, Spent] = {}
        self._unsettled: dict[Account, Spent] = {}
        self._earlier: tuple[str, float, Mapping[str, Spent]] = ("", 0.0, {})

    def known(self, subject: str, period: str, unit: str) -> int:
        """Return what ``subject`` is known to have spent; what its store has not settled yet is not among it."""
        account = subject, period
        with self._lock:
            written, own = self._sums.get(account, Spent()), self._unwritten.get(account, Spent())
            return written.of(unit) + own.of(unit) - self._unsettled.get(account, Spent()).of(unit)

    def spend(self, subjects: Iterable[str], at: dt.datetime, spent: Spent) -> None:
        """Note what a request that came ``at`` took; before its record is written, and before it is settled."""
        with self._lock:
            for account in _accounts(subjects, at):
                _add(self._unwritten, account, spent)
                _add(self._unsettled, account, spent)

    def settled(self, subjects: Iterable[str], at: dt.datetime, spent: Spent) -> None:
        """Note that the store counts it now, or never will."""
        with self._lock:
            for account in _accounts(subjects, at):
                _add(self._unsettled, account, Spent(tokens=-spent.tokens, cost=-spent.cost))

    # --- the sums ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self, records: Sequence[UsageRecord]) -> Iterator[None]:
        """Hold off readers while ``records`` are added to the sums, and count them as written if that succeeds."""
        with self._database:
            yield
            self._written(records)

    def _written(self, records: Iterable[UsageRecord]) -> None:
        with self._lock:
            for record in records:
                spent = Spent(record.prompt_tokens + record.completion_tokens, cost_units(record.cost))
                for account in _accounts((f"key:{record.key_id}", f"group:{record.group}"), record.created_at):
                    if own := self._unwritten.get(account):
                        moved = Spent(min(own.tokens, spent.tokens), min(own.cost, spent.cost))
                        _add(self._unwritten, account, Spent(-moved.tokens, -moved.cost))
                        _add(self._sums, account, moved)
                if record.created_at.astimezone(dt.UTC).date() < timezone.now().date():
                    self._earlier = ("", 0.0, {})

    async def know(self, subjects: frozenset[str]) -> None:
        """Read the sums if those of ``subjects`` were never read; where that fails, they have spent nothing so far."""
        if not self._subjects >= subjects:
            await database_sync_to_async(self.know_now, thread_sensitive=False)(subjects)

    def know_now(self, subjects: frozenset[str]) -> None:
        """Do what know does, in a thread."""
        with self._asking:  # one waits for a database that is away, and not each after the other
            if self._subjects >= subjects:
                return
            try:
                self.read(subjects)
            except Error as error:
                logger.warning("could not read what was spent, budgets begin at nothing until it is error=%s", error)
                with self._lock:
                    self._subjects |= subjects

    def read(self, also: frozenset[str] = frozenset()) -> None:
        """Read the sums of every subject with a budget, and of those ``also``; raises django.db.Error."""
        subjects = _with_budgets() | also
        now = timezone.now().astimezone(dt.UTC)
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        with self._database:
            day = _sums(subjects, today, today + dt.timedelta(days=1)) if subjects else {}
            earlier = self._days_before(subjects, today) if subjects else {}
            with self._lock:
                self._subjects = subjects
                self._sums = {(subject, f"{today:%Y-%m-%d}"): spent for subject, spent in day.items()}
                for subject in day.keys() | earlier.keys():
                    month = subject, f"{today:%Y-%m}"
                    _add(self._sums, month, day.get(subject, Spent()))
                    _add(self._sums, month, earlier.get(subject, Spent()))
                self._forget(f"{today - dt.timedelta(days=2):%Y-%m}")

    def _days_before(self, subjects: frozenset[str], today: dt.datetime) -> Mapping[str, Spent]:
        what = f"{today:%Y-%m-%d} {sorted(subjects)}"
        known, at, sums = self._earlier
        if known != what or time.monotonic() - at > EARLIER_SECONDS:
            sums = _sums(subjects, today.replace(day=1), today)
            self._earlier = what, time.monotonic(), sums
        return sums

    def _forget(self, month: str) -> None:
        for accounts in (self._unwritten, self._unsettled):
            for account in [one for one, spent in accounts.items() if one[1][:7] < month or spent == Spent()]:
                del accounts[account]


ledger = Ledger()


async def follow_spending() -> None:
    """Read the sums every few seconds while there are budgets, for ever; survives outages."""
    failing = False
    while True:
        try:
            await database_sync_to_async(ledger.read, thread_sensitive=False)()
        except Error as error:
            if not failing:
                logger.warning("cannot read what was spent, the last sums go on error=%s", error)
            failing = True
        else:
            if failing:
                logger.info("what was spent is read again")
            failing = False
        await asyncio.sleep(READ_SECONDS)


def _with_budgets() -> frozenset[str]:
    policies = (policy for caller in keys.get().values() for policy in caller.policies)
    return frozenset(policy.subject for policy in policies if has_budgets(policy.limits))


def _sums(subjects: Iterable[str], since: dt.datetime, until: dt.datetime) -> dict[str, Spent]:
    hours = UsageHour.objects.filter(hour__gte=since, hour__lt=until).order_by()
    of_keys = [int(subject.removeprefix("key:")) for subject in subjects if subject.startswith("key:")]
    of_groups = [subject.removeprefix("group:") for subject in subjects if subject.startswith("group:")]
    sums: dict[str, Spent] = {}
    for kind, field, names in (("key", "key_id", of_keys), ("group", "group", of_groups)):
        if not names:
            continue
        rows = hours.filter(**{f"{field}__in": names}).values_list(field)
        rows = rows.annotate(all_tokens=Sum(F("prompt_tokens") + F("completion_tokens")), all_cost=Sum("cost"))
        for name, tokens, cost in rows:
            sums[f"{kind}:{name}"] = Spent(tokens, cost_units(cost))
    return sums


def _accounts(subjects: Iterable[str], at: dt.datetime) -> Iterator[Account]:
    at = at.astimezone(dt.UTC)
    periods = [period_of(rule, at) for rule in _PERIODS]
    return ((subject, period) for subject in subjects for period in periods)


def _add(accounts: dict[Account, Spent], account: Account, spent: Spent) -> None:
    before = accounts.get(account, Spent())
    accounts[account] = Spent(before.tokens + spent.tokens, before.cost + spent.cost)
