"""What the site does to its pages beyond what its plugins do."""  # noqa: INP001 - no package

from __future__ import annotations

import re

_LITERAL_COLONS = re.compile(r"::</p>(?=\s*<div class=\"[^\"]*highlight)")


def on_page_content(html: str, **_: object) -> str:
    """Show the two colons that announce code in a docstring as one: Markdown needs none.

    Args:
        html: The content of a page.

    Returns:
        The content to show.
    """
    return _LITERAL_COLONS.sub(":</p>", html)
