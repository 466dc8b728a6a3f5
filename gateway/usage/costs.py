"""What requests cost, by the experts' prices. Pure."""

from decimal import Decimal

from routing.backends.protocol import Usage
from routing.catalog import Expert

TOKENS_PRICED = 1_000_000
SMALLEST = Decimal("0.00000001")


def cost_of(usage: Usage, expert: Expert) -> Decimal:
    """Return what ``usage`` costs in the currency of the expert's prices, which are for a million tokens."""
    read = usage.prompt_tokens * Decimal(str(expert.price_in))
    written = usage.completion_tokens * Decimal(str(expert.price_out))
    return ((read + written) / TOKENS_PRICED).quantize(SMALLEST)
