"""Misconfiguration found at start. Ids are stable; each hint names the variable to change.

docs/checks.md lists them all (tests/moe_site/test_checks.py compares).
"""

from moe_site.checks import database, exposure, settings, surroundings

__all__ = ["database", "exposure", "settings", "surroundings"]
