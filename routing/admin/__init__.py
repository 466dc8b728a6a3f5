"""The pages on which an administrator decides who answers."""

from routing.admin.experts import ExpertAdmin, ReplicaAdmin
from routing.admin.installed import InstalledModelAdmin
from routing.admin.rules import RoutingRuleAdmin
from routing.admin.servers import ModelServerAdmin, ModelServerForm

__all__ = [
    "ExpertAdmin",
    "InstalledModelAdmin",
    "ModelServerAdmin",
    "ModelServerForm",
    "ReplicaAdmin",
    "RoutingRuleAdmin",
]
