"""Proposals that wait, for pages that lead to them."""

from django import template

from routing.models import Proposal

register = template.Library()


@register.simple_tag
def proposals_waiting() -> int:
    """Return how many proposals somebody should decide on."""
    return Proposal.objects.filter(status=Proposal.Status.OPEN).count()
