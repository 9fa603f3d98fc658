"""`meshhook queues`: the queues of a project."""

from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from meshhook.cli import complete, output
from meshhook.cli.exits import CommandError
from meshhook.cli.options import JsonOption, YesOption, with_options, with_project
from meshhook.cli.project import Settings
from meshhook.exceptions import QueueNotFoundError
from meshhook.sync_services import SyncQueueService, list_queues_sync

if TYPE_CHECKING:
    from meshhook.models import QueueInfo

app = typer.Typer(help="Create, change, list, pause, empty and drop queues.")

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="QUEUE",
        help="The queue.",
        autocompletion=complete.queues,
    ),
]
_COLUMNS = (
    "queue",
    "state",
    "dead letters in",
    "lease:",
    "attempts:",
    "backoff ms:",
    "history",
    "retention",
    "created",
)


@attrs.frozen(kw_only=True)
class Changes:
    """The settings of a queue that are given, by their names in the SDK."""

    dlq_name: Annotated[
        str | None,
        typer.Option("--dlq", metavar="NAME", help="Its dead letter queue (<queue>_dlq)."),
    ] = None
    vt_seconds: Annotated[
        float | None,
        typer.Option("--visibility-timeout-seconds", help="The lease of a claimed job (30)."),
    ] = None
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", help="The last attempt of a job (5).")
    ] = None
    base_delay_ms: Annotated[
        int | None, typer.Option("--base-delay-ms", help="The delay after a first failure (1000).")
    ] = None
    max_delay_ms: Annotated[
        int | None, typer.Option("--max-delay-ms", help="What a delay never exceeds (300000).")
    ] = None
    keeps_history: Annotated[
        bool | None,
        typer.Option("--history/--no-history", help="Whether finished jobs are kept (they are)."),
    ] = None
    has_dead_letters: Annotated[
        bool | None,
        typer.Option(
            "--dead-letters/--no-dead-letters",
            help="Whether jobs past their last attempt become dead letters (they do).",
        ),
    ] = None
    retention_days: Annotated[
        float | None,
        typer.Option("--retention-days", help="How long finished jobs are kept (forever: inf)."),
    ] = None


@app.command("list")
@with_project
def list_all(settings: Settings, *, as_json: JsonOption = False) -> None:
    """List every queue of the project, with its settings."""
    with settings.connect() as client:
        queues = list_queues_sync(client)
    if as_json:
        output.show_json(queues)
        return
    empty = "There is no queue yet: meshhook queues create NAME"
    output.show_table(_COLUMNS, map(_row, queues), empty)


def _row(queue: "QueueInfo") -> tuple[object, ...]:
    has_settings = queue.max_attempts is not None
    kind = "dlq" if queue.is_dlq else "paused" if queue.paused_at else "active"
    return (
        queue.queue_name,
        kind,
        None if queue.is_dlq or queue.has_dead_letters is False else queue.dlq_name,
        f"{queue.vt_seconds:g} s" if queue.vt_seconds is not None else None,
        queue.max_attempts,
        f"{queue.base_delay_ms} to {queue.max_delay_ms}" if has_settings else None,
        None if queue.keeps_history is None else "kept" if queue.keeps_history else "not kept",
        _retention(queue) if has_settings else None,
        queue.created_at,
    )


@app.command()
@with_project
@with_options(changes=Changes)
def create(
    settings: Settings, name: NameArgument, *, changes: Changes, as_json: JsonOption = False
) -> None:
    """Create a queue and its dead letter queue, or change the settings of an existing one."""
    with settings.open_queue(name) as service:
        queue = service.create_queue(**attrs.asdict(changes))
    _show_settings(queue, as_json=as_json)


@app.command()
@with_project
@with_options(changes=Changes)
def configure(
    settings: Settings, name: NameArgument, *, changes: Changes, as_json: JsonOption = False
) -> None:
    """Change the settings of a queue; its workers follow. Without options, show them."""
    with settings.open_queue(name) as service:
        queue = service.configure_queue(**attrs.asdict(changes))
    _show_settings(queue, as_json=as_json)


@app.command()
@with_project
def pause(settings: Settings, name: NameArgument) -> None:
    """Hand out no jobs of a queue until it is resumed; running jobs are finished."""
    with settings.open_queue(name) as queue:
        was_running = queue.pause_queue()
    output.say(f"{name} is paused." if was_running else f"{name} was paused already.")


@app.command()
@with_project
def resume(settings: Settings, name: NameArgument) -> None:
    """Hand out the jobs of a paused queue again."""
    with settings.open_queue(name) as queue:
        was_paused = queue.resume_queue()
    output.say(f"{name} is resumed." if was_paused else f"{name} was not paused.")


def _show_settings(queue: "QueueInfo", *, as_json: bool) -> None:
    if as_json:
        output.show_json(queue)
        return
    output.show_fields(
        [
            ("queue", queue.queue_name),
            ("paused", queue.paused_at),
            ("dead letters", queue.dlq_name if queue.has_dead_letters else "none are kept"),
            ("lease", f"{queue.vt_seconds:g} s"),
            ("attempts", queue.max_attempts),
            ("backoff", f"{queue.base_delay_ms} ms, doubled up to {queue.max_delay_ms} ms"),
            ("history", "kept" if queue.keeps_history else "not kept"),
            ("retention", _retention(queue)),
        ]
    )


def _retention(queue: "QueueInfo") -> str:
    days = queue.retention_days
    return "forever" if days is None else output.counted(days, "day")


@app.command()
@with_project
def drop(
    settings: Settings,
    name: NameArgument,
    *,
    with_dlq: Annotated[
        bool, typer.Option("--with-dlq", help="Drop its dead letter queue too.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Drop a queue with all its jobs and its archive."""
    with settings.open_queue(name) as queue:
        if not yes:
            too = " and its dead letter queue" if with_dlq else ""
            content = _content(settings, queue)
            output.confirm(f"This drops the queue {name}{too}, {content}", yes=False)
        if not queue.drop_queue(drop_dlq=with_dlq):
            raise CommandError(f"there is no queue {name}")
    output.say(f"Dropped {name}.")


def _content(settings: Settings, queue: "SyncQueueService") -> str:
    try:
        length = queue.get_queue_metrics().queue_length
        return f"with {output.counted(length, 'job')}"
    except QueueNotFoundError:
        with settings.connect() as client:
            if queue.queue_name not in {one.queue_name for one in list_queues_sync(client)}:
                raise
        return "whose table is gone already"


@app.command()
@with_project
def purge(settings: Settings, name: NameArgument, *, yes: YesOption = False) -> None:
    """Delete every job of a queue, running ones too."""
    with settings.open_queue(name) as queue:
        length = queue.get_queue_metrics().queue_length
        output.confirm(f"This deletes all jobs of {name}: {length} at the moment", yes=yes)
        deleted = queue.purge_queue()
    output.say(f"Deleted {output.counted(deleted, 'job')} of {name}.")
