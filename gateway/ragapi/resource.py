"""A view of the knowledge base: who asks, and for what."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, cast

from rest_framework.views import APIView

from gateway.auth import Caller
from gateway.fields import invalid, unsupported
from gateway.library import access_of
from gateway.limits.rest import Stay
from gateway.policy import Needs, Scope
from gateway.ragapi.metadata import is_storable
from gateway.ragapi.paging import PARAMETERS
from knowledge.access import Access


class Resource(APIView):
    needs: ClassVar[Needs] = Scope.KNOWLEDGE
    paging: ClassVar[tuple[str, ...]] = PARAMETERS

    @property
    def caller(self) -> Caller:
        return cast(Caller, self.request.user)

    @property
    def access(self) -> Access:
        """Whose request it is, as collections see it."""
        return access_of(self.caller)

    def check_budgets(self) -> None:
        """Raise QuotaSpent where a budget of the caller's is spent: for what has texts embedded."""
        stay: Stay = self.request._request.stay  # type: ignore[attr-defined]  # limits_middleware's
        stay.check_budgets()

    def query(self, *known: str) -> Mapping[str, str]:
        """Return the parameters of the address, ``known`` ones and those of paging.

        Raises BadRequest for one that nobody reads: a filter that is passed over shows too much.
        """
        return self._only((*known, *self.paging))

    def flag(self, name: str) -> bool:
        """Return what the one parameter of the address says, true or false; raises BadRequest."""
        value = self._only((name,)).get(name, "false").lower()
        if value not in ("true", "false"):
            raise invalid(name, f"'{name}' must be true or false.")
        return value == "true"

    def _only(self, names: Iterable[str]) -> Mapping[str, str]:
        given = self.request.query_params.dict()
        for name, value in given.items():
            if not is_storable(value):
                raise invalid(name, f"'{name}' has characters that no text can have.")
            if name not in names:
                raise unsupported(name, f"There is no parameter '{name}' here. There are: {', '.join(names)}.")
        return given
