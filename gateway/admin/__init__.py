"""The pages on which an administrator keeps the door."""

from gateway.admin.caching import CachedAnswerAdmin
from gateway.admin.groups import KeyGroupAdmin
from gateway.admin.guards import GuardAdmin
from gateway.admin.keys import ApiKeyAdmin
from gateway.admin.usage import ExchangeAdmin, UsageHourAdmin, UsageRecordAdmin

__all__ = [
    "ApiKeyAdmin",
    "CachedAnswerAdmin",
    "ExchangeAdmin",
    "GuardAdmin",
    "KeyGroupAdmin",
    "UsageHourAdmin",
    "UsageRecordAdmin",
]
