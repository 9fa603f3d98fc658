"""A FastAPI app that enqueues jobs and shows their state.

fastapi run web_fastapi.py    # or: uvicorn web_fastapi:app
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel

import meshhook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SHOP = uuid.uuid5(uuid.NAMESPACE_DNS, "shop.example.com")
SEND_RECEIPT = uuid.uuid5(SHOP, "send-receipt")


class Order(BaseModel):
    """What a customer buys."""

    number: int
    email: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client while the app runs."""
    async with meshhook.connect() as client:
        app.state.queue_service = meshhook.QueueService(client)
        yield


app = FastAPI(lifespan=lifespan)


def queue_service(request: Request) -> meshhook.QueueService:
    """Return the queue; a test may override it."""
    service: meshhook.QueueService = request.app.state.queue_service
    return service


Queue = Annotated[meshhook.QueueService, Depends(queue_service)]


@app.post("/orders", status_code=202)
async def place_order(order: Order, queue: Queue) -> dict[str, int]:
    """Take an order; a worker sends the receipt."""
    result = await queue.enqueue(
        {
            "run_id": uuid.uuid4(),
            "workflow_id": SEND_RECEIPT,
            "project_id": SHOP,
            "metadata": {"order": order.model_dump()},
        },
        idempotency_key=f"receipt-{order.number}",  # a customer who clicks twice gets one
    )
    return {"job": result.msg_id}


@app.get("/jobs/{msg_id}")
async def show_job(msg_id: int, queue: Queue) -> dict[str, str | int | None]:
    """Return the state of a job."""
    job = await queue.get_job(msg_id)
    if job is None:
        raise HTTPException(404, "no such job")
    error = job.attempts[-1].error_message if job.attempts else None
    return {"state": job.state, "attempt": job.attempt, "last_error": error}
