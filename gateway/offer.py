"""What a caller can ask for as ``model``: what it may not ask for does not exist for it. Pure.

A narrowed key is held to the names of what it asks for, in whichever spelling. The experts that a profile chooses among
need not be named: who may ask for the profile gets whoever answers for it.
"""

from dataclasses import dataclass

from gateway.auth import Caller
from gateway.policy import Scope
from routing.catalog import AUTO, Catalog, Expert, Profile
from routing.named import IN_PROCESS, no_embedder, no_model

LATEST = ":latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    caller: Caller
    known: Catalog

    def check_chat(self, name: str) -> None:
        """Raise ModelNotFound for what the caller may not ask for, as for what is not there."""
        if not self.caller.is_narrowed:
            return
        found = self._chats(name) or self._embeds(name)
        if found is not None and not self._may_ask(found):
            raise no_model(name)

    def check_embedding(self, name: str) -> None:
        """Raise ModelNotFound for what the caller may not ask for, as for what is not there."""
        if not self.caller.is_narrowed:
            return
        found = self._embeds(name) or self._chats(name)
        if found is not None and not self._may_ask(found):
            raise no_embedder(name)

    def exists(self, name: str) -> bool:
        """Tell whether something that the caller may ask for answers to ``name``."""
        return self.find(name) is not None

    def find(self, name: str) -> Profile | Expert | None:
        """Return who answers to ``name``, chats or embeddings, where the caller may ask for it."""
        found = self._chats(name) or self._embeds(name)
        return found if found is not None and self._may_ask(found) else None

    def shows(self, name: str) -> bool:
        """Tell whether ``name`` belongs in a list of what the caller can use."""
        return any(
            found is not None and any(map(self.caller.may, scopes)) and self._may_ask(found)
            for found, scopes in (
                (self._chats(name), (Scope.CHAT, Scope.ROUTE)),
                (self._embeds(name), (Scope.EMBEDDINGS,)),
            )
        )

    def _chats(self, name: str) -> Profile | Expert | None:
        return self.known.profiles.get(name) or self.known.find(name)

    def _embeds(self, name: str) -> Profile | Expert | None:
        if name == AUTO:
            return self.known.profiles.get(AUTO)
        return IN_PROCESS if name == IN_PROCESS.slug else self.known.find_embedder(name)

    def _may_ask(self, found: Profile | Expert) -> bool:
        if not self.caller.is_narrowed:
            return True
        return self.caller.may_ask(*self._names(found.slug))

    def _names(self, slug: str) -> tuple[str, ...]:
        """Return what something is called: a model also by its tag without ":latest", unless that is taken."""
        short = slug.removesuffix(LATEST)
        everything = (self.known.profiles, self.known.experts, self.known.models, self.known.embedders)
        return (slug,) if any(short in things for things in everything) else (slug, short)
