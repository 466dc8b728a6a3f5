"""Programs with what was measured of them made up, for tests that compile nothing."""

from routing.models import Expert, RouterProgram
from routing.program.measuring import Outcome
from routing.program.versions import program_keep

INSTRUCTIONS = "Choose the expert by <what> is wanted."
STATE: dict[str, object] = {
    "choose": {
        "traces": [],
        "train": [],
        "demos": [],
        "signature": {
            "instructions": INSTRUCTIONS,
            "fields": [
                {"prefix": f"{name.title()}:", "description": name}
                for name in ("experts", "conversation", "expert", "confidence", "reason")
            ],
        },
        "lm": None,
    }
}


def outcomes(right: int, *, of: int = 40, guessed: int = 10, confidence: float = 0.8, ms: float = 200.0):
    """Return ``of`` cases: the program is right in the first ``right``, the classifier in the last ``guessed``."""
    return [
        Outcome(
            digest=f"case {number}",
            expert="code",
            guess="code" if number >= of - guessed else "math",
            said="code" if number < right else "math",
            confidence=confidence,
            ms=ms,
            unhurried="code" if number < right else "math",
            unhurried_ms=ms,
            prompt_tokens=400,
            completion_tokens=30,
        )
        for number in range(of)
    ]


def measured_program(right: int, *, active: bool = False, settings=None, **more) -> RouterProgram:
    """Return a program that was compiled and got ``right`` of 40 cases right."""
    runs_on, _ = Expert.objects.get_or_create(slug="code", defaults={"name": "Code"})
    demo = {"conversation": "<conversation>\nFix it\n</conversation>", "expert": "code", "confidence": 0.9}
    version = RouterProgram.objects.create(
        runs_on=runs_on,
        state=STATE,
        instructions=INSTRUCTIONS,
        demos=[demo],
        experts=["code", "math"],
        examples=100,
        **(settings or {}),
    )
    training = {"count": 100, "own": 12, "candidates": 11, "score": 80.0, "ended_early": True, "trouble": ""}
    facts = {"training": training, "held_out_own": 5, "seconds": 61}
    program_keep(version, outcomes=outcomes(right, **more), facts=facts)
    if active:
        RouterProgram.objects.filter(pk=version.pk).update(active=True)
        version.refresh_from_db()
    return version
