"""How long the property tests search: a short, repeatable run, or as long as one likes.

`MESHHOOK_PROPERTIES=20` has each property search through twenty times as many examples, with other
random numbers each time; pytest's own limit of time is then to be lifted, by `--timeout 0`.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

FACTOR = int(os.environ.get("MESHHOOK_PROPERTIES", "1"))

# Hypothesis caches tables of characters; a clone stays as it was. Each account has a folder of its
# own, since another's may not be written to.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"meshhook-hypothesis-{os.getuid()}")


def thorough(examples: int, **more: Any) -> settings:
    """Return the settings of a property.

    Args:
        examples: How many examples the short run tries.
        **more: Other settings.
    """
    return settings(
        max_examples=examples * FACTOR,
        derandomize=FACTOR == 1,
        database=None,
        deadline=None,
        print_blob=FACTOR > 1,
        # The fixtures hold no state that one example could leave to the next without being seen.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.differing_executors,
        ],
        **more,
    )
