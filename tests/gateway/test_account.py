"""What a request leaves behind."""

import errno
from collections import Counter

import pytest
from django.db import InternalError, OperationalError
from psycopg.errors import ReadOnlySqlTransaction

from gateway import account
from gateway.account import Account, is_kept
from gateway.auth import Caller, asker_of
from routing.backends.protocol import ServerAddress, ServerKind
from routing.catalog import Expert, Profile, Replica
from routing.decision import Decision, new_id
from routing.exceptions import UpstreamFailed
from routing.journal import Journal
from routing.judging import Outcome
from routing.program.opinion import ProgramOpinion
from routing.program.verdict import Verdict
from routing.rules import Rule
from routing.trial import Attempt

BOX = Replica(
    server=ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url="http://box"), embedded=False, model="m"
)
READ_ONLY = InternalError("cannot execute INSERT in a read-only transaction")
READ_ONLY.__cause__ = ReadOnlySqlTransaction()
CODE, GENERAL = Expert(slug="code", replicas=(BOX,)), Expert(slug="general", replicas=(BOX,))


class Kept(Journal):
    """A journal whose records can be looked at; it writes nothing."""

    def __init__(self):
        super().__init__()
        self.hits = Counter()

    @property
    def records(self):
        return [record for record, _ in self._records]

    def rules_hit(self, rule_ids):
        self.hits.update(rule_ids)


@pytest.fixture
def kept(monkeypatch):
    journal = Kept()
    monkeypatch.setattr(account, "journal", journal)
    return journal


def decision(**fields):
    profile = fields.pop("profile", Profile(slug="auto"))
    return Decision(**{"id": new_id(), "expert": CODE, "route": "rule", "why": "", "profile": profile} | fields)


def ended(made, **fields):
    done = Account(what="completion", request_id="req", caller=Caller(name="laptop"), asked="auto", decision=made)
    for name, value in fields.items():
        setattr(done, name, value)
    done.record()
    return done


@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [
        (ZeroDivisionError(), 500, "server_error"),
        (OperationalError(), 503, "service_unavailable"),
        (READ_ONLY, 503, "service_unavailable"),
        (OSError(errno.ENOSPC, "No space left on device"), 503, "service_unavailable"),
        (InternalError(), 500, "server_error"),
        (GeneratorExit(), 499, "cancelled"),
    ],
)
def test_an_error_that_nobody_foresaw_is_no_cancellation(kept, error, status, outcome):
    done = Account(what="completion", request_id="req", caller=Caller(), asked="auto", decision=decision())
    with pytest.raises(type(error)):
        try:
            raise error
        finally:
            done.close()
    assert (done.status, kept.records[0].outcome) == (status, outcome)


def test_another_experts_answer_and_the_failures_before_it_are_told(kept):
    done = Account(what="completion", request_id="req", caller=Caller(name="laptop"), asked="auto", decision=decision())
    done.tried(Attempt(replica=BOX, expert=CODE))
    done.tried(Attempt(replica=BOX, expert=GENERAL, failed=(("m@gone", "upstream_timeout"),)))
    done.reason = "stop"
    done.record()
    (record,) = kept.records
    assert (record.expert, record.answered_by, record.replica, record.outcome) == ("code", "general", "m@box", "stop")
    assert record.why["hops"] == [{"replica": "m@gone", "error": "upstream_timeout"}]
    assert record.key_name == "laptop"


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [({"reason": "length"}, "length"), ({"error": UpstreamFailed("x")}, "upstream_error"), ({}, "cancelled")],
)
def test_every_way_to_end_is_one(kept, fields, outcome):
    ended(decision(), **fields)
    assert kept.records[0].outcome == outcome


@pytest.mark.parametrize(
    ("profile", "prompt"),
    [(Profile(slug="auto"), ""), (Profile(slug="auto", log_prompts=True), "secret"), (None, "")],
    ids=["no", "yes", "explicit"],
)
def test_a_prompt_is_kept_only_where_the_profile_says_so(kept, profile, prompt):
    ended(decision(profile=profile, text="secret"))
    assert kept.records[0].prompt == prompt
    assert "secret" not in str(kept.records[0].why)


@pytest.mark.parametrize("keeps", [False, True])
def test_what_the_program_says_of_a_prompt_is_kept_only_where_the_prompt_is(kept, keeps):
    said = ProgramOpinion(version=1, verdict=Verdict(expert="code", confidence=0.9, reason="asks for my diagnosis"))
    why = f"the program chooses code 90%{said.quoted}"
    ended(decision(profile=Profile(slug="auto", log_prompts=keeps), program=said, why=why))
    assert ("diagnosis" in str(kept.records[0].why)) is keeps
    assert kept.records[0].why["sentence"].startswith("the program chooses code 90%")


def test_a_long_prompt_is_cut(kept):
    ended(decision(profile=Profile(slug="auto", log_prompts=True), text="x" * 30_000))
    assert len(kept.records[0].prompt) == 20_000


@pytest.mark.parametrize("share", [0, 25, 100])
def test_a_profiles_share_of_decisions_is_kept_and_every_rule_counted(kept, share):
    rule = Rule(id=7, name="seven")
    for _ in range(2000):
        ended(decision(profile=Profile(slug="auto", log_share=share), outcome=Outcome(rules=(rule,))))
    assert abs(len(kept.records) - 20 * share) <= (0 if share in (0, 100) else 100)
    assert kept.hits == {7: 2000}


def test_whether_a_decision_is_kept_does_not_change_and_explicit_ones_are():
    made = decision(profile=Profile(slug="auto", log_share=50))
    assert len({is_kept(made) for _ in range(10)}) == 1
    assert is_kept(decision(profile=None))


def test_what_was_never_decided_leaves_no_record(kept):
    ended(None, error=UpstreamFailed("x"))
    assert len(kept) == 0


def test_rules_see_who_asks_but_not_what_it_proves_itself_with():
    headers = {b"user-agent": "curl", b"authorization": "Bearer x", b"cookie": "a=b", b"proxy-authorization": "c"}
    asker = asker_of(Caller(name="laptop", group="sales", prefix="sk-moe-abc"), headers)
    assert (asker.key, asker.group, asker.tenant) == ("laptop", "sales", "sk-moe-abc")
    assert asker.headers == {"user-agent": "curl"}
