"""REST views, and the health of the endpoint."""

from typing import cast

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from gateway import exposition
from gateway.auth import Caller
from gateway.health import health
from gateway.offer import Offer
from gateway.policy import ANY_SCOPE, Scope
from routing.catalog import Expert, Profile, catalog
from routing.exceptions import ModelNotFound
from routing.named import IN_PROCESS

# OpenAI's objects need a time of creation; experts and tags have none that would mean anything to a client.
CREATED = 1_735_689_600


class Models(APIView):
    """GET /v1/models: what can be asked for as ``model``."""

    needs = ANY_SCOPE

    def get(self, request: Request) -> Response:
        known = catalog.get()
        offer = Offer(caller=cast(Caller, request.user), known=known)
        names = [
            *known.profiles,
            *(slug for slug, expert in known.experts.items() if expert.replicas),
            *sorted({*known.models, *known.embedders}),
            IN_PROCESS.slug,
        ]
        found = {name: offer.find(name) for name in names if offer.shows(name)}
        return Response({"object": "list", "data": [_described(name, one) for name, one in found.items() if one]})


class Model(APIView):
    """GET /v1/models/{id}; an id may hold slashes."""

    needs = ANY_SCOPE

    def get(self, request: Request, name: str) -> Response:
        found = Offer(caller=cast(Caller, request.user), known=catalog.get()).find(name)
        if found is None or (isinstance(found, Expert) and not found.replicas):
            raise ModelNotFound(
                f"The model '{name}' does not exist. GET /v1/models lists those that do.", param="model"
            )
        return Response(_described(name, found))


def _described(name: str, found: Profile | Expert) -> dict[str, object]:
    model = {"id": name, "object": "model", "created": CREATED, "owned_by": "moe"}
    model |= {"name": found.name or name, "description": found.description}
    if isinstance(found, Profile):
        return model
    windows = [replica.num_ctx or replica.context_length for replica in found.replicas]
    return model | {"context_length": max((window for window in windows if window), default=None)}


class Metrics(APIView):
    """GET /metrics, for Prometheus: of all processes together; with an API key, as it names servers and models."""

    needs = Scope.METRICS

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(exposition.text(), content_type="text/plain; version=0.0.4; charset=utf-8")


@csrf_exempt
async def live(request: HttpRequest) -> JsonResponse:
    """Answer as long as the process can."""
    return JsonResponse({"status": "ok"})


@csrf_exempt
async def ready(request: HttpRequest) -> JsonResponse:
    """Tell whether chats can be answered, with a reason for each dependency."""
    state = await health()
    return JsonResponse({"status": state.state, "dependencies": state.dependencies}, status=200 if state.ready else 503)
