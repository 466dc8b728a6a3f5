"""The rules an installation starts with: few, and each surely right, as the classifier does the rest. Data.

Each was tried on 1,541 labelled prompts of other people; docs/routing.md says how often it fits and is right.
"""

from collections.abc import Mapping, Sequence
from typing import Any

RULE_NOTE = "From the standard shelf. Edit, reorder or disable it as you like."

_LANGUAGES = (
    "english|french|german|spanish|italian|portuguese|russian|chinese|mandarin|japanese|korean|arabic|hindi|turkish|dutch|"
    "polish|greek|hebrew|latin|swedish|norwegian|danish|finnish|czech|hungarian|romanian|ukrainian|vietnamese|thai|"
    "indonesian|swahili|bengali|persian"
)

RULES: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("vision", {"name": "Pictures", "has_images": True}),
    (
        "aggregation",
        {
            "name": "Several answers to merge",
            "look_in": "instruction",
            "keywords": [
                "combine these answers",
                "combine the answers",
                "merge these answers",
                "merge the answers",
                "synthesize these responses",
                "synthesize the responses",
                "reconcile these answers",
                "combine these drafts into one",
                "one final answer from these",
                "aggregate the responses",
            ],
        },
    ),
    (
        "lookup",
        {
            "name": "Our own documents",
            "look_in": "instruction",
            "keywords": [
                "according to our documentation",
                "according to our handbook",
                "according to the handbook",
                "according to our policy",
                "in our knowledge base",
                "in our wiki",
                "in our documentation",
                "search our documents",
                "search the knowledge base",
                "laut unserer dokumentation",
                "laut unserem handbuch",
                "selon notre documentation",
                "según nuestra documentación",
                "根据我们的文档",
                "在我们的知识库",
            ],
        },
    ),
    (
        "enterprise",
        {
            "name": "Company matters",
            "look_in": "instruction",
            "keywords": [
                "risk register",
                "stakeholder matrix",
                "procurement policy",
                "compliance policy",
                "data processing agreement",
                "service level agreement",
                "iso 27001",
                "request for proposal",
                "business continuity plan",
                "change management plan",
            ],
        },
    ),
    (
        "simple-code",
        {
            "name": "One-liners",
            "look_in": "instruction",
            "max_tokens": 60,
            "keywords": ["one-liner", "one liner", "oneliner", "short regex", "excel formula for", "bash one-liner"],
        },
    ),
    ("code", {"name": "Stack traces", "pattern": r"Traceback \(most recent call last\)|^\s+at [\w.$]+\([\w.]+:\d+\)"}),
    (
        "translation",
        {
            "name": "Translation, asked outright",
            "look_in": "instruction",
            "pattern": r"(?i)^\W*(?:please\s+|can you\s+|could you\s+)?translate\b"
            rf"[^.\n]{{0,60}}\b(?:in)?to\s+(?:{_LANGUAGES})\b",
        },
    ),
    ("math", {"name": "Calculating with tools", "has_tools": True, "keywords": ["calculate", "compute"]}),
    ("reasoning", {"name": "Riddles", "look_in": "instruction", "keywords": ["logic puzzle", "solve this riddle"]}),
    (
        "general",
        {
            "name": "Greetings",
            "pattern": r"(?i)^\W*(?:hi|hello|hey|good (?:morning|evening)|hola|bonjour|hallo|你好)\W*$",
        },
    ),
)
