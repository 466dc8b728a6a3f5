"""Rules: what an administrator decides beforehand."""

from collections.abc import Collection
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from routing.conditions import PATTERN_SECONDS
from routing.models.experts import Expert, validate_defaults
from routing.rules import compile_pattern


def validate_keywords(value: list[str]) -> None:
    if any(not word.strip() for word in value):
        raise ValidationError("A keyword is empty.")


def validate_pattern(pattern: str) -> None:
    """Raise ValidationError unless ``pattern`` can be read and gets through long repetitions quickly."""
    expression, error = compile_pattern(pattern)
    if error:
        raise ValidationError(f"This is no regular expression: {error}.")
    # What takes exponential time does so where it can repeat; its own letters tell what that may be. They stand at
    # the end too, lest the search be given up at once because one that must be there is not.
    letters = sorted({letter for letter in pattern if letter.isalnum()} | {"a", "0", " "})[:20]
    for letter in letters:
        if expression is not None and not _is_quick(expression, f"{letter * 2000}!{''.join(letters)}!"):
            raise ValidationError(
                f"This takes longer than {PATTERN_SECONDS * 1000:.0f} ms on a long text and would be skipped. "
                "Avoid repetitions within repetitions, such as (a+)+."
            )


def _is_quick(expression: Any, text: str) -> bool:
    # A second chance with more time: the machine may have been busy, while what is exponential never ends.
    for seconds in (PATTERN_SECONDS, 5 * PATTERN_SECONDS):
        try:
            expression.search(text, timeout=seconds)
        except TimeoutError:
            continue
        return True
    return False


def validate_texts(value: object) -> None:
    """Raise ValidationError unless ``value`` is an object that holds nothing but texts, under names."""
    if not isinstance(value, dict):
        raise ValidationError('Enter a JSON object of texts, such as {"x-team": "legal"}.')
    for name, text in value.items():
        if not name.strip():
            raise ValidationError("A name is empty.")
        if not isinstance(text, str):
            raise ValidationError(f'“{name}” must be a text in quotes, such as "{text if text is not None else "*"}".')


def _words(help_text: str) -> "ArrayField[list[str], list[str]]":
    return ArrayField(
        models.CharField(max_length=200), blank=True, default=list, validators=[validate_keywords], help_text=help_text
    )


class RoutingRule(models.Model):
    """Conditions, all of which must hold (one left empty always does), and what is done then."""

    class LookIn(models.TextChoices):
        INSTRUCTION = "instruction", "the instruction: the last user message without pasted material"
        MESSAGE = "message", "the last user message"
        CONVERSATION = "conversation", "every message"

    class SystemMode(models.TextChoices):
        KEEP = "", "leave it alone"
        INSERT = "insert", "use the text where there is no system message"
        APPEND = "append", "put the text after the system message"
        REPLACE = "replace", "use the text instead of any system message"

    name = models.CharField(max_length=200, unique=True, help_text="Shown where a decision is explained.")
    priority = models.PositiveIntegerField(
        default=100, help_text="Rules are tried from the smallest number up; the first that names an expert decides."
    )
    enabled = models.BooleanField(default=True)
    note = models.TextField(blank=True, default="", help_text="Why this rule exists.")

    # --- when: the words
    look_in = models.CharField(
        max_length=20,
        choices=LookIn.choices,
        default=LookIn.MESSAGE,
        help_text="Where the words below are looked for.",
    )
    keywords = _words("Any of these. One word or phrase a line, on word boundaries, whatever the case.")
    all_keywords = _words("All of these.")
    none_keywords = _words("None of these.")
    pattern = models.CharField(
        "regular expression",
        max_length=500,
        blank=True,
        default="",
        help_text="Must be found too. Case matters unless it begins with (?i). It is given 20 ms; one that takes "
        "longer does not fit, and the decision says so.",
    )
    # --- when: the request
    has_images = models.BooleanField(null=True, blank=True)
    has_tools = models.BooleanField(null=True, blank=True)
    wants_json = models.BooleanField(
        "wants JSON", null=True, blank=True, help_text="The client asks for a JSON object or sends a JSON schema."
    )
    min_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text="At least so many tokens in the whole request, as estimated."
    )
    max_tokens = models.PositiveIntegerField(null=True, blank=True, help_text="At most so many.")
    languages = ArrayField(
        models.CharField(max_length=8),
        blank=True,
        default=list,
        help_text="Codes such as <i>en</i>, <i>de</i>, <i>zh</i>, of the last user message. One a line.",
    )
    # --- when: who asks, and how
    keys = _words("Names of API keys, one a line; * stands for anything.")
    groups = _words("Groups of API keys, one a line.")
    headers = models.JSONField(
        blank=True,
        default=dict,
        help_text='Headers of the request, for example {"x-team": "legal*"}. All must be there; * stands for anything.',
    )
    metadata = models.JSONField(
        blank=True,
        default=dict,
        help_text='Values in the request\'s metadata, for example {"project": "atlas"}.',
    )
    profiles = models.ManyToManyField(
        "routing.RoutingProfile", blank=True, related_name="rules", help_text="Only for these. None: for all."
    )
    weekdays = ArrayField(
        models.PositiveSmallIntegerField(validators=[MaxValueValidator(6)]),
        blank=True,
        default=list,
        help_text="0 is Monday, 6 is Sunday.",
    )
    from_time = models.TimeField(null=True, blank=True, help_text="In the server's time zone.")
    until_time = models.TimeField(
        null=True, blank=True, help_text="Earlier than the start means the next day, as in 22:00 to 06:00."
    )

    # --- when: the knowledge base
    min_evidence = models.FloatField(
        "evidence",
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text="At least this strength, 0 to 1, of the best passage on the last user message. Each such message is "
        "then searched for before it is routed. What is too weak for answers is said by each collection's threshold.",
    )
    evidence_collections = ArrayField(
        models.SlugField(max_length=100),
        blank=True,
        default=list,
        help_text="In any of these collections, one a line. Empty: in those that answers are grounded in, below.",
    )

    # --- then
    expert = models.ForeignKey(
        Expert, null=True, blank=True, on_delete=models.CASCADE, related_name="rules", help_text="Who answers then."
    )
    candidates = models.ManyToManyField(
        Expert,
        blank=True,
        related_name="candidate_in",
        help_text="Or: only these may answer, and later stages choose among them.",
    )
    collections = ArrayField(
        models.SlugField(max_length=100),
        blank=True,
        default=list,
        help_text="Collections of the knowledge base to ground the answer in, one a line.",
    )
    overrides = models.JSONField(
        blank=True,
        default=dict,
        help_text='Sampling that is used whatever the client says, for example {"temperature": 0}.',
    )
    system_mode = models.CharField(
        "system message", max_length=10, choices=SystemMode.choices, blank=True, default=SystemMode.KEEP
    )
    system_text = models.TextField(blank=True, default="")
    stop = models.BooleanField(default=True, help_text="Try no later rule once this one fits.")
    interrupts = models.BooleanField(
        "moves conversations",
        default=False,
        help_text="May also move a conversation that is under way to another expert.",
    )

    class Meta:
        ordering = ["priority", "id"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what could never work; what depends on candidates is in ``clean_actions``."""
        self.languages = list(dict.fromkeys(code.strip().lower() for code in self.languages))
        # Browsers send the line ends of forms as two characters.
        self.note, self.system_text = (text.replace("\r\n", "\n") for text in (self.note, self.system_text))
        errors: dict[str, list[str]] = {}
        for name, check in (
            ("pattern", self._check_pattern),
            ("headers", lambda: validate_texts(self.headers)),
            ("metadata", lambda: validate_texts(self.metadata)),
            ("overrides", self._check_overrides),
            ("max_tokens", self._check_tokens),
            ("until_time", self._check_window),
            ("system_text", self._check_system),
            ("evidence_collections", self._check_evidence),
        ):
            try:
                check()
            except ValidationError as error:
                errors[name] = error.messages
        if errors:
            raise ValidationError(errors)

    def clean_actions(self, candidates: Collection[Expert]) -> None:
        """Raise ValidationError unless the rule, with ``candidates``, does something, and one thing only."""
        if self.expert_id and candidates:
            raise ValidationError(
                {"candidates": "The rule names an expert already. Name either one expert or candidates."}
            )
        if not (self.expert_id or candidates or self.collections or self.overrides or self.system_mode):
            raise ValidationError(
                "This rule would do nothing. Give it an expert, candidates, collections, overrides or a system text."
            )

    def _check_pattern(self) -> None:
        if self.pattern:
            validate_pattern(self.pattern)

    def _check_overrides(self) -> None:
        try:
            validate_defaults(self.overrides)
        except ValidationError as error:
            raise ValidationError(error.messages) from error

    def _check_tokens(self) -> None:
        if self.min_tokens is not None and self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValidationError("This must be at least as many as the fewest tokens.")

    def _check_window(self) -> None:
        if self.from_time is not None and self.from_time == self.until_time:
            raise ValidationError("The window ends when it begins. Leave both empty for the whole day.")

    def _check_evidence(self) -> None:
        if self.min_evidence is not None and not (self.evidence_collections or self.collections):
            raise ValidationError("Name the collections in which evidence is looked for.")
        if self.min_evidence is None and self.evidence_collections:
            raise ValidationError("Say how strong the evidence in these must be, or leave them out.")

    def _check_system(self) -> None:
        if self.system_mode and not self.system_text.strip():
            raise ValidationError("Enter the text, or leave the system message alone.")
        if self.system_text.strip() and not self.system_mode:
            raise ValidationError("Say what to do with this text: choose a way for the system message.")


class RuleUse(models.Model):
    """How often a rule fitted; a table of its own, as a rule that changes makes every process read them all again."""

    rule = models.OneToOneField(RoutingRule, on_delete=models.CASCADE, primary_key=True, related_name="use")
    hits = models.PositiveBigIntegerField(default=0)
    last_hit_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.rule}: {self.hits}"
