"""A Flask app that enqueues jobs with the sync client and shows their state.

flask --app web_flask run    # or: gunicorn 'web_flask:create_app()'
"""

from __future__ import annotations

import atexit
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING

from flask import Flask, abort, request

import meshhook

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

SHOP = uuid.uuid5(uuid.NAMESPACE_DNS, "shop.example.com")
SEND_RECEIPT = uuid.uuid5(SHOP, "send-receipt")


def create_app(queue_service: meshhook.SyncQueueService | None = None) -> Flask:
    """Create the app.

    Args:
        queue_service: The queue; None to use the project of SUPABASE_URL.
    """
    app = Flask(__name__)
    if queue_service is None:
        # One client serves all threads of this process, and is closed when it ends.
        until_exit = ExitStack()
        atexit.register(until_exit.close)
        client = until_exit.enter_context(meshhook.connect_sync())
        queue_service = meshhook.SyncQueueService(client)

    @app.post("/orders")
    def place_order() -> ResponseReturnValue:
        order = request.get_json()
        try:
            result = queue_service.enqueue(
                {
                    "run_id": uuid.uuid4(),
                    "workflow_id": SEND_RECEIPT,
                    "project_id": SHOP,
                    "metadata": {"order": order},
                },
                idempotency_key=f"receipt-{order['number']}",  # a second click gets the same
            )
        except meshhook.OutageError:
            abort(503, "please try again")
        return {"job": result.msg_id}, 202

    @app.get("/jobs/<int:msg_id>")
    def show_job(msg_id: int) -> ResponseReturnValue:
        job = queue_service.get_job(msg_id)
        if job is None:
            abort(404)
        error = job.attempts[-1].error_message if job.attempts else None
        return {"state": job.state, "attempt": job.attempt, "last_error": error}

    return app
