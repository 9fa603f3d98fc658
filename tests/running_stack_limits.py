"""What of the tests that share a stack does not fit a running one, with the reason for each.

A path is a folder, a file, or a file with a test in it.
"""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Limit:
    """Tests that are left out for one reason.

    Attributes:
        reason: The reason, as it ends the sentence "12 tests ...".
        unless: The ability of a stack, a field of `Abilities`, with which they run after all.
        paths: The tests.
    """

    reason: str
    unless: str = ""
    paths: tuple[str, ...]

    def covers(self, node_id: str) -> bool:
        """Return whether a test is one of them."""
        return any(
            node_id == path or node_id.startswith((f"{path}/", f"{path}::", f"{path}["))
            for path in self.paths
        )


LIMITS: tuple[Limit, ...] = (
    Limit(
        reason="that change more of a project than queues of their own",
        paths=(
            "tests/benchmarks",
            "tests/docs/test_pages.py",
            "tests/examples/test_how_to.py",
            "tests/properties/test_rpc_arguments.py",
            "tests/sql/test_user_enqueue.py::test_migrations_that_are_applied_again_leave_it_as_it_is",
        ),
    ),
    Limit(
        reason="that need a database user who is a superuser",
        unless="superuser",
        paths=(
            "tests/properties/test_lock_errors.py",
            (
                "tests/sql/test_monitoring.py"
                "::test_a_queue_that_belongs_to_somebody_else_does_not_hide_the_others"
            ),
        ),
    ),
    Limit(
        reason="that need a project in which users were never allowed to enqueue",
        unless="closed_to_users",
        paths=(
            "tests/docs/test_sql_reference.py::test_the_rights_are_those_that_are_told",
            (
                "tests/sql/test_user_enqueue.py"
                "::test_without_being_allowed_users_cannot_even_call_the_function"
            ),
        ),
    ),
    Limit(
        reason="that need MESHHOOK_TEST_ANON_KEY and MESHHOOK_TEST_JWT_SECRET",
        unless="tokens",
        paths=(
            "tests/cli/test_settings.py::test_no_key_is_ever_shown",
            "tests/cli/test_settings.py::test_what_looks_like_a_key_is_hidden_and_nothing_else",
            "tests/promises/test_p8_access.py::test_no_function_can_be_called",
            "tests/promises/test_p8_access.py::test_no_view_can_be_read",
            "tests/services/test_mistakes.py::test_a_mistake_is_told_with_its_fix",
            "tests/testing/test_clock.py::test_the_quota_of_a_user_is_there_again",
        ),
    ),
)
