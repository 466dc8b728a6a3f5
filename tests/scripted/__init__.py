"""The scripted model server: real HTTP on loopback, as strict as Ollama, and told what to say."""

from .capable import CapableModel
from .model import Residency, ScriptedModel
from .recorded import Recorded
from .reply import Piece, Reply, ToolCall
from .server import ScriptedServer

__all__ = ["CapableModel", "Piece", "Recorded", "Reply", "Residency", "ScriptedModel", "ScriptedServer", "ToolCall"]
