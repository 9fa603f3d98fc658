"""A Flask app that enqueues with the sync client, and tells what became of a job.

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
    """Make the app.

    Args:
        queue_service: The queue; None for that of SUPABASE_URL.
    """
    app = Flask(__name__)
    if queue_service is None:
        # One client serves all threads of this process, and is closed when that ends.
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
                idempotency_key=f"receipt-{order['number']}",  # who clicks twice gets one
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
