"""What is said at a start can be copied into a shell."""

import shlex
from pathlib import Path

import pytest

from moe_site import banner
from moe_site.first_start import Secrets, Servers


@pytest.mark.parametrize("key", ["sk-moe-new", ""])
def test_the_line_to_try_is_one_for_a_shell(key):
    told = banner.text(
        url="http://127.0.0.1:8000",
        secrets=Secrets(api_key=key),
        servers=Servers(),
        embedded_model=None,
        embedded_database=True,
        data_dir=Path("var"),
        seconds=1.0,
    )
    line = told[told.index("curl") : told.index(banner.LINE, told.index("curl"))]
    assert f"Authorization: Bearer {key or '$API_KEY'}" in shlex.split(line)
    # Within single quotes no shell would put in what a variable holds.
    assert "'Authorization: Bearer $API_KEY'" not in line
