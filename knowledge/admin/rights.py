"""What somebody may do with the tables of the knowledge base, for pages that show more than one of them."""

from django.http import HttpRequest


def may(request: HttpRequest, action: str, model: str) -> bool:
    return request.user.has_perm(f"knowledge.{action}_{model}")


def may_see(request: HttpRequest, model: str) -> bool:
    return may(request, "view", model) or may(request, "change", model)


def may_ask(request: HttpRequest) -> bool:
    """Tell whether somebody may see what a question retrieves: texts of every collection."""
    return may_see(request, "chunk")
