"""Vectors of texts that were embedded before."""

from django.db import models


class CachedVector(models.Model):
    """The vector of a text by a model; ``digest`` is the text's SHA-256, ``vector`` 32-bit floats, little-endian."""

    model = models.CharField(max_length=200)
    digest = models.BinaryField(max_length=32)
    vector = models.BinaryField()
    used_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "digest"], name="cached_vector_once")]

    def __str__(self) -> str:
        return f"{self.model} {bytes(self.digest).hex()[:12]}"
