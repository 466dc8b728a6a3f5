"""What every door that waits or streams does first: who asks, whether they may, and with whom they are put through."""

from typing import ClassVar

from gateway.auth import Caller, asker_of, identify, keys
from gateway.completions import Routed
from gateway.http import HttpConsumer
from gateway.policy import Scope
from gateway.wire import Head
from routing.features import Asker


class Door(HttpConsumer):
    """``needs`` is what a key must be permitted to come in."""

    needs: ClassVar[Scope]
    head: Head

    async def caller(self) -> Caller:
        """Return who asks; raises EndpointError."""
        return identify(self.headers.get(b"authorization"), await keys.aget())

    def asker(self, caller: Caller) -> Asker:
        return asker_of(caller, self.headers)

    def routed(self, event: Routed) -> None:
        self.extra_headers, self.head = event.headers(), event.head
