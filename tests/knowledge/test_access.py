"""Who may see which collections: what a policy narrows, in Python and in SQL alike."""

import pytest

from knowledge.access import Access, Level, fits
from knowledge.collections import collection_get_or_create
from knowledge.exceptions import CollectionNotFound
from knowledge.models import Collection
from knowledge.stores import store_create
from routing.exceptions import BadRequest
from tests.knowledge.rows import collection_of

SLUGS = ("handbook", "team-a", "team-b", "team_a", "teams", "Team-a", "a-team", "import")
PATTERNS = {
    "*": set(SLUGS),
    "**": set(SLUGS),
    "handbook": {"handbook"},
    "team-*": {"team-a", "team-b"},
    "team_a": {"team_a"},  # an underscore is none of SQL's
    "*team*": {"team-a", "team-b", "team_a", "teams", "a-team"},
    "*-a": {"team-a", "Team-a"},
    "t*m*": {"team-a", "team-b", "team_a", "teams"},
    "": set(),
    "hand": set(),
    "HANDBOOK": set(),
}


@pytest.mark.django_db
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_fits_the_same_slugs_here_and_in_the_database(pattern):
    for slug in SLUGS:
        collection_of(slug)
    access = Access(everything=True, narrowed=(((pattern, Level.READ),),))
    found = set(Collection.objects.open_to(access).values_list("slug", flat=True))
    assert found == {slug for slug in SLUGS if fits(slug, pattern)} == PATTERNS[pattern]


@pytest.mark.parametrize(
    ("name", "pattern", "is_fitting"),
    [
        ("llama3:latest", "llama3*", True),
        ("a.b", "a.b", True),
        ("axb", "a.b", False),
        ("a[1]", "a[1]", True),
        ("a1", "a[1]", False),
        ("a?", "a?", True),
        ("ab", "a?", False),
        ("ab\n", "ab", False),
        ("a" * 60, "*".join("a" * 30) + "*b", False),
    ],
)
def test_nothing_but_a_star_stands_for_anything(name, pattern, is_fitting):
    assert fits(name, pattern) is is_fitting


NARROWED = Access(key_id=1, narrowed=((("team-*", Level.MANAGE), ("*", Level.READ)), (("*-a", Level.WRITE),)))


@pytest.mark.parametrize(
    ("slug", "level", "may"),
    [
        ("team-a", Level.WRITE, True),
        ("team-a", Level.MANAGE, False),  # the second permits no more than writing
        ("team-b", Level.READ, False),  # the second is not about it
        ("book-a", Level.READ, True),
        ("book-a", Level.WRITE, False),
    ],
)
def test_every_narrowing_must_permit_it(slug, level, may):
    assert NARROWED.permits(slug, level) is may


@pytest.mark.django_db
class TestMaking:
    def test_a_collection_is_made_under_a_name_that_may_be_managed(self):
        access = Access(key_id=1, narrowed=((("team-*", Level.MANAGE), ("notes-*", Level.WRITE)),))
        assert collection_get_or_create(slug="team-a", access=access).slug == "team-a"
        for slug in ("notes-a", "handbook"):
            with pytest.raises(CollectionNotFound):
                collection_get_or_create(slug=slug, access=access)
        assert list(Collection.objects.values_list("slug", flat=True)) == ["team-a"]

    def test_what_is_there_is_written_to_with_less(self):
        collection_of("notes-a")
        access = Access(key_id=1, narrowed=((("notes-*", Level.WRITE),),))
        assert collection_get_or_create(slug="notes-a", access=access).slug == "notes-a"

    @pytest.mark.parametrize(
        ("rules", "slugs"),
        [
            ((), ["my-notes", "my-notes-2"]),
            ((("*", Level.MANAGE),), ["my-notes", "my-notes-2"]),
            ((("team-*", Level.MANAGE),), ["team-my-notes", "team-my-notes-2"]),
            ((("a-*-b", Level.MANAGE), ("c", Level.READ)), ["a-my-notes-b", "a-my-notes-2-b"]),
            ((("my-*", Level.MANAGE), ("team-*", Level.MANAGE)), ["my-notes", "my-notes-2"]),
            ((("scratch", Level.MANAGE),), ["scratch"]),
        ],
    )
    def test_a_store_gets_a_slug_that_fits(self, rules, slugs):
        access = Access(key_id=1, narrowed=(rules,) if rules else ())
        assert [store_create(name="My notes", access=access).slug for _ in slugs] == slugs

    def test_where_none_is_left_it_is_told(self):
        access = Access(key_id=1, narrowed=((("scratch", Level.MANAGE),),))
        store_create(name="My notes", access=access)
        with pytest.raises(BadRequest, match="No name for clients could be made"):
            store_create(name="My notes", access=access)
