"""The bodies that endpoints take and give, by name."""

from collections.abc import Mapping

from gateway.openapi.components import basics, chat, knowledge, native, responses, stores, usage
from gateway.openapi.shapes import Schema

COMPONENTS: Mapping[str, Schema] = {
    **basics.SCHEMAS,
    **chat.SCHEMAS,
    **responses.SCHEMAS,
    **knowledge.SCHEMAS,
    **stores.SCHEMAS,
    **usage.SCHEMAS,
    **native.SCHEMAS,
}
