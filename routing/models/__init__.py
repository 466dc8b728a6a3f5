"""What an administrator edits, and what is kept of what the router did."""

from routing.models.decisions import DecisionRecord
from routing.models.examples import ClassifierVersion, RouteExample
from routing.models.experts import (
    Expert,
    ExpertFallback,
    Replica,
    validate_defaults,
    validate_keep_alive,
)
from routing.models.feedback import Feedback, Proposal
from routing.models.profiles import RoutingProfile
from routing.models.programs import RouterProgram
from routing.models.rules import RoutingRule, RuleUse, validate_keywords
from routing.models.servers import InstalledModel, ModelServer, normalise_base_url, validate_base_url
from routing.models.vectors import CachedVector

__all__ = [
    "CachedVector",
    "ClassifierVersion",
    "DecisionRecord",
    "Expert",
    "ExpertFallback",
    "Feedback",
    "InstalledModel",
    "ModelServer",
    "Proposal",
    "Replica",
    "RouteExample",
    "RouterProgram",
    "RoutingProfile",
    "RoutingRule",
    "RuleUse",
    "normalise_base_url",
    "validate_base_url",
    "validate_defaults",
    "validate_keep_alive",
    "validate_keywords",
]
