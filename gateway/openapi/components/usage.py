"""What was used."""

from collections.abc import Mapping

from gateway.openapi.shapes import FLAG, INTEGER, NUMBER, TEXT, TIME, Schema, const, members, nullable, ref, some

_COUNTS: Mapping[str, Schema] = {
    "requests": INTEGER,
    "errors": INTEGER,
    "cancelled": INTEGER,
    "cached": INTEGER,
    "prompt_tokens": INTEGER,
    "completion_tokens": INTEGER,
    "thinking_tokens": INTEGER,
    "total_tokens": INTEGER,
    "cost": NUMBER,
    "mean_ms": nullable(NUMBER),
    "mean_first_token_ms": nullable(NUMBER),
}
_TOLD: Mapping[str, Schema] = {
    "start": TIME,
    "key": nullable(INTEGER),
    "key_name": nullable(TEXT),
    "group": nullable(TEXT),
    "expert": nullable(TEXT),
    "model": nullable(TEXT),
    "kind": nullable(TEXT),
}

SCHEMAS: Mapping[str, Schema] = {
    "UsageCounts": members(_COUNTS),
    "UsageRow": members({**_TOLD, **_COUNTS}, required=("start", *_COUNTS)),
    "Budget": members({"limit": TEXT, "of": TEXT, "period": TEXT, "most": NUMBER, "spent": NUMBER, "left": NUMBER}),
    "UsageReport": members(
        {
            "object": const("usage"),
            "start": TIME,
            "end": TIME,
            "bucket": TEXT,
            "group_by": some(TEXT),
            "totals": ref("UsageCounts"),
            "data": some(ref("UsageRow")),
            "has_more": FLAG,
            "next_page": nullable(INTEGER),
            "budgets": some(ref("Budget")),
        }
    ),
}
