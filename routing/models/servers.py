"""Model servers, and what is installed on them."""

import re
from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from routing.backends.protocol import ServerAddress, ServerKind
from routing.fields import EncryptedTextField


def validate_base_url(value: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValidationError("Enter an address such as http://gpu-box:11434, with http:// or https:// in front.")
    if parts.username or parts.password:
        raise ValidationError("Leave user name and password out of the address; use the API key field.")
    if parts.query or parts.fragment:
        raise ValidationError("Leave out everything after the path.")


class ModelServer(models.Model):
    class Kind(models.TextChoices):
        OLLAMA = "ollama", "Ollama (native API)"
        OPENAI = "openai", "OpenAI-compatible (llama.cpp, vLLM, …)"

    name = models.CharField(
        max_length=100,
        unique=True,
        help_text="What people call it, for example <i>gpu-box</i>. Shown in headers and logs.",
    )
    kind = models.CharField(
        max_length=20,
        choices=Kind.choices,
        default=Kind.OLLAMA,
        help_text="Choose Ollama wherever it is one: only its native API takes every parameter.",
    )
    base_url = models.CharField(
        "base URL",
        max_length=500,
        unique=True,
        validators=[validate_base_url],
        help_text="For example <i>http://gpu-box:11434</i>. Without /api or /v1 at the end.",
    )
    api_key = EncryptedTextField(
        "API key",
        blank=True,
        default="",
        help_text="Sent as a bearer token. Stored encrypted and never shown again.",
    )
    enabled = models.BooleanField(default=True, help_text="A disabled server gets no requests.")
    embedded = models.BooleanField(
        default=False, editable=False, help_text="Started and supervised by this installation itself."
    )
    note = models.TextField(blank=True, default="", help_text="For your colleagues; not used by the router.")
    proposed_at = models.DateTimeField(
        null=True, editable=False, help_text="When experts were first proposed from this server's models."
    )

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        self.base_url = normalise_base_url(self.base_url)

    def address(self) -> ServerAddress:
        return ServerAddress(
            name=self.name,
            kind=ServerKind(self.kind),
            base_url=self.base_url.rstrip("/"),
            api_key=self.api_key,
        )


def normalise_base_url(url: str) -> str:
    """Return ``url`` without the protocol's path, which people paste along."""
    return re.sub(r"/(?:v1|api)/*\Z", "", url.strip().rstrip("/")).rstrip("/")


class InstalledModel(models.Model):
    """A model found on a model server when it was last asked."""

    server = models.ForeignKey(ModelServer, on_delete=models.CASCADE, related_name="installed_models")
    name = models.CharField(max_length=300, help_text="The tag, as the server lists it.")
    family = models.CharField(max_length=100, blank=True, default="")
    parameter_size = models.CharField(max_length=50, blank=True, default="")
    quantization = models.CharField(max_length=50, blank=True, default="")
    size_bytes = models.BigIntegerField(null=True, blank=True)
    digest = models.CharField(max_length=100, blank=True, default="")
    context_length = models.PositiveIntegerField(
        null=True, blank=True, help_text="The longest window the model was trained for, in tokens."
    )
    capabilities = ArrayField(
        models.CharField(max_length=30),
        null=True,
        blank=True,
        help_text="As the server tells them (completion, tools, vision, thinking, embedding…); empty when it does not.",
    )
    seen_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["server", "name"]
        constraints = [models.UniqueConstraint(fields=["server", "name"], name="installed_model_once_a_server")]

    def __str__(self) -> str:
        return f"{self.name} on {self.server}"

    @property
    def answers_chats(self) -> bool:
        return self.capabilities is None or "completion" in self.capabilities

    @property
    def parameters(self) -> float | None:
        """Its size in thousand millions of parameters, of "8.2B" or "8x7B"; None where the server does not tell."""
        match = re.match(r"(?:(\d+)X)?([\d.]+)\s*([KMBT])", self.parameter_size.upper())
        if not match:
            return None
        return int(match[1] or 1) * float(match[2]) * {"K": 1e-6, "M": 1e-3, "B": 1.0, "T": 1e3}[match[3]]
