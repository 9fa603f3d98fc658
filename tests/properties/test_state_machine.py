"""Whatever is done to a queue, in whatever order: it stays what the model says it is."""

from __future__ import annotations

import psycopg
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.machine import QueueMachine
from tests.properties.profiles import thorough
from tests.sql.client import Api


def test_a_queue_does_what_its_model_does(admin: psycopg.Connection) -> None:
    api = Api(admin)

    class Machine(QueueMachine):
        def __init__(self) -> None:
            super().__init__(api)

    run_state_machine_as_test(Machine, settings=thorough(60, stateful_step_count=40))
