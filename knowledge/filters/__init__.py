"""Filters on what documents say of themselves: which are searched, listed or answered from.

They are those of OpenAI's vector stores, `{"type": "gte", "key": "year", "value": 2024}` and
`{"type": "and", "filters": [...]}`, and for short `{"author": "x", "year": 2024}`, which means and of eq.
"""

from knowledge.filters.comparing import matches
from knowledge.filters.grammar import Comparison, Compound, Filter, InvalidFilter, Operator, parse, to_json
from knowledge.filters.query import to_q

__all__ = ["Comparison", "Compound", "Filter", "InvalidFilter", "Operator", "matches", "parse", "to_json", "to_q"]
