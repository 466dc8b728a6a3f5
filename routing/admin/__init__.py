"""The pages on which an administrator decides who answers."""

from routing.admin.classifiers import ClassifierVersionAdmin
from routing.admin.decisions import DecisionRecordAdmin
from routing.admin.examples import RouteExampleAdmin
from routing.admin.experts import ExpertAdmin, ReplicaAdmin
from routing.admin.feedback import FeedbackAdmin
from routing.admin.installed import InstalledModelAdmin
from routing.admin.profiles import RoutingProfileAdmin
from routing.admin.programs import RouterProgramAdmin
from routing.admin.proposals import ProposalAdmin
from routing.admin.rules import RoutingRuleAdmin
from routing.admin.servers import ModelServerAdmin, ModelServerForm

__all__ = [
    "ClassifierVersionAdmin",
    "DecisionRecordAdmin",
    "ExpertAdmin",
    "FeedbackAdmin",
    "InstalledModelAdmin",
    "ModelServerAdmin",
    "ModelServerForm",
    "ProposalAdmin",
    "ReplicaAdmin",
    "RouteExampleAdmin",
    "RouterProgramAdmin",
    "RoutingProfileAdmin",
    "RoutingRuleAdmin",
]
