"""What an administrator edits of the door, and what is kept of what went through it."""

from gateway.models.caching import CachedAnswer, CachePurge
from gateway.models.exchanges import Exchange
from gateway.models.guards import Guard
from gateway.models.keys import (
    KEY_START,
    SHOWN_CHARACTERS,
    WEIGHTS,
    ApiKey,
    KeyGroup,
    KeyUse,
    Priority,
    key_digest,
    new_key_text,
)
from gateway.models.policies import Policy
from gateway.models.usage import UsageHour, UsageRecord

__all__ = [
    "KEY_START",
    "SHOWN_CHARACTERS",
    "WEIGHTS",
    "ApiKey",
    "CachePurge",
    "CachedAnswer",
    "Exchange",
    "Guard",
    "KeyGroup",
    "KeyUse",
    "Policy",
    "Priority",
    "UsageHour",
    "UsageRecord",
    "key_digest",
    "new_key_text",
]
