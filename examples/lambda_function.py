"""An AWS Lambda function that works off the queue.

Its handler, for Lambda, is `lambda_function.lambda_handler`. Call it by a schedule, or by the cron
kick; one invocation works until the queue is empty or its time is nearly up.
"""

from __future__ import annotations

from tasks import handle

from meshhook import serverless

lambda_handler = serverless.lambda_handler(handle, concurrency=20)
