"""An AWS Lambda function that drains the queue.

Its entry point is `lambda_function.lambda_handler`. Call it on a schedule or with the cron kick.
One invocation works until the queue is empty or its time is nearly up.
"""

from __future__ import annotations

from tasks import handle

from meshhook import serverless

lambda_handler = serverless.lambda_handler(handle, concurrency=20)
