"""The door for those who want to know who would answer, and why."""

from gateway.account import Account
from gateway.auth import Caller
from gateway.chatrequest import parse_chat
from gateway.completions import decided, listed
from gateway.doors import Door
from gateway.guards.findings import header_of
from gateway.guards.guarding import guarding_for
from gateway.library import Library
from gateway.policy import Scope
from routing.backends.protocol import ChatRequest
from routing.decision import Decision
from routing.exceptions import EndpointError


class Decisions(Door):
    """POST /v1/route: a chat's body; the decision on it, without an answer"""

    needs = Scope.ROUTE
    what = "decision"

    async def handle(self, body: bytes) -> None:
        caller = await self.caller()
        request = parse_chat(body)
        await self.check_budgets()
        decision = await self._decided(request, caller)
        headers = {
            "X-MoE-Decision": decision.id,
            "X-MoE-Expert": decision.expert.slug,
            "X-MoE-Route": decision.route,
        }
        if request.ignored:
            headers["X-MoE-Ignored"] = listed(request.ignored)
        await self.send_json(decision.body(), headers=headers)

    async def _decided(self, request: ChatRequest, caller: Caller) -> Decision:
        account = Account(what="decision", request_id=self.request_id, caller=caller, asked=request.model)
        try:
            guarding = account.guarding = await guarding_for(request.model, caller)
            request = await guarding.chat(request)
            if guarding.has_found:
                self.extra_headers["X-MoE-Guards"] = header_of(guarding.found)
            library = Library(caller, reserve=account.reserve)
            decision = account.decision = await decided(request, self.asker(caller), library)
            account.reason = "not run"
        except EndpointError as error:
            account.error = error
            raise
        finally:
            account.close()
        return decision
