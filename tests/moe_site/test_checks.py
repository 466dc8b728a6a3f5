import pytest
from django.core.checks import Tags, run_checks

from moe_site.checks import _version_errors


@pytest.mark.django_db
def test_the_embedded_database_passes():
    assert run_checks(tags=[Tags.database], databases=["default"]) == []


@pytest.mark.parametrize(
    ("major", "vector", "ids"),
    [
        (18, "0.8.5", []),
        (14, "0.8.0", []),
        (13, "0.8.5", ["moe_site.E005"]),
        (17, None, ["moe_site.E006"]),
        (17, "0.7.4", ["moe_site.E007"]),
        (12, None, ["moe_site.E005", "moe_site.E006"]),
    ],
)
def test_what_is_too_old_or_missing_names_the_variable(major, vector, ids):
    errors = _version_errors(major, vector)
    assert [error.id for error in errors] == ids
    assert all("DATABASE_URL" in error.hint for error in errors)
