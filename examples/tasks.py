"""The handler of a small shop: it sends the receipt of an order.

    meshhook worker tasks:handle

`web_fastapi.py` and `web_flask.py` enqueue its jobs; `lambda_function.py` runs it on AWS Lambda;
`deploy/` has the files for containers, systemd and Kubernetes. Besides SUPABASE_URL and
SUPABASE_KEY, it needs MAIL_URL, the address of the service that sends mails.
"""

from __future__ import annotations

import os

import httpx

import meshhook


async def handle(message: meshhook.JobMessage) -> None:
    """Send a receipt; called once for each job, and again if it raises."""
    order = message.metadata.get("order")
    if not order:
        raise meshhook.DeadLetter("the job has no order")  # a retry would not help
    async with httpx.AsyncClient(base_url=os.environ["MAIL_URL"], timeout=10) as mail:
        # The run's id is the same in every attempt, so the receipt is sent at most once.
        headers = {"Idempotency-Key": message.run_id}
        answer = await mail.post("/receipts", json=order, headers=headers)
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise meshhook.Retry(after_seconds=float(answer.headers.get("Retry-After", "30")))
    answer.raise_for_status()  # any other error is retried after the backoff
