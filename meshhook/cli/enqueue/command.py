"""`meshhook enqueue`: jobs from arguments, a file or a pipe."""

import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from meshhook.cli import output
from meshhook.cli.enqueue import dry_run, upload
from meshhook.cli.enqueue.options import How, OneJob, Source
from meshhook.cli.exits import sigterm_as_ctrl_c, usage
from meshhook.cli.options import with_options, with_queue
from meshhook.cli.project import Settings

_ID_NAMES = ("run_id", "workflow_id", "project_id")

_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "meshhook enqueue --metadata")
"""The namespace of the ids of jobs that are given by their metadata alone."""


@with_queue
@with_options(source=Source, how=How, one=OneJob)
def enqueue(
    settings: Settings,
    jobs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB]...", help="Jobs as JSON objects; or - for standard input."),
    ] = None,
    *,
    source: Source,
    how: How,
    one: OneJob,
) -> None:
    """Enqueue jobs: from arguments, or JSON Lines of any length from a file or a pipe."""
    how.arguments()  # a time that is not usable is refused before anything is read
    arguments = [] if jobs == ["-"] else jobs or []
    if one.metadata is not None:
        if jobs or source.file:
            raise usage("--metadata is a job of its own: give no other jobs, and no --file")
        source.refuse_for_arguments()
        made = job_of(one.metadata, settings.queue_name, one.ids, how.idempotency_key)
        _enqueue_arguments(settings, [made], how, made=made)
        return
    if one.ids:
        raise usage("--run-id, --workflow-id and --project-id go with --metadata")
    if arguments and source.file:
        raise usage("give jobs as arguments or in a --file, not both")
    if arguments:
        source.refuse_for_arguments()
        _enqueue_arguments(settings, arguments, how)
        return
    if how.idempotency_key is not None:
        raise usage("--idempotency-key is for arguments; give --upload NAME with a file or a pipe")
    if source.file is None and sys.stdin.isatty():
        raise usage("give jobs as arguments, in a --file, or through a pipe")
    with sigterm_as_ctrl_c():
        run = dry_run.check_lines if how.dry_run else upload.upload_lines
        run(settings, source, how)


def job_of(
    metadata: str, queue_name: str, ids: Mapping[str, str], idempotency_key: str | None
) -> dict[str, Any]:
    """Make a job of its metadata alone.

    Args:
        metadata: The metadata, as a JSON object.
        queue_name: The queue.
        ids: The ids that are given, by their names; the others are made.
        idempotency_key: The key that the job is enqueued under once, if any.

    Returns:
        The job. Its run_id is random, or made of queue and key, so that a repeat under the key is
        the same job; the other two ids are made of the queue's name, and are one UUID.

    Raises:
        CommandError: The metadata is not a JSON object.
    """
    try:
        found = json.loads(metadata)
    except (ValueError, RecursionError) as error:
        raise usage(f"--metadata is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise usage('--metadata is not a JSON object; write it as \'{"name": "value"}\'')
    key = idempotency_key
    of_queue = str(uuid.uuid5(_IDS, queue_name))
    made = {
        "run_id": str(uuid.uuid4() if key is None else uuid.uuid5(_IDS, f"{queue_name}/{key}")),
        "workflow_id": of_queue,
        "project_id": of_queue,
    }
    return {**made, **ids, "metadata": found}


def _enqueue_arguments(
    settings: Settings,
    arguments: Sequence[str | dict[str, Any]],
    how: How,
    *,
    made: Mapping[str, Any] | None = None,
) -> None:
    """Enqueue the arguments; the ids of a job that was made here are shown."""
    if how.dry_run:
        dry_run.check_arguments(settings, arguments, how)
        return
    jobs = [_parsed(position, given) for position, given in enumerate(arguments, 1)]
    with upload.sender(settings, how) as send:
        batch = send(jobs, how.idempotency_key)
    ids = {name: made[name] for name in _ID_NAMES} if made else {}
    if how.as_json:
        output.show_json({"msg_ids": batch.msg_ids, "duplicate": batch.duplicate, **ids})
        return
    for msg_id in batch.msg_ids:
        output.say(str(msg_id))
    done = f"{output.counted(len(jobs), 'job', 'are')} enqueued"
    if batch.duplicate:
        done = f"{output.counted(len(jobs), 'job', 'were')} there already"
    run = f", run_id {ids['run_id']}" if ids else ""
    output.note(f"{done} in {settings.queue_name}{run}.")


def _parsed(position: int, given: str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(given, dict):
        return given
    try:
        job = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise usage(f"job {position} is not JSON: {error}") from error
    if not isinstance(job, dict):
        raise usage(f"job {position} is not a JSON object")
    return job
