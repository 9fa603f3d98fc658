"""What the journal tells: executions, how workers ended, and what was done to them and when."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import attrs

from tests.soak.journal import Entry
from tests.soak.ledger import Receipt

# How long after a strike its consequences may last: pauses, and until both ends know that the
# other is there again. Connections that are ended are replaced at once.
AFTERMATH_SECONDS = 1.5
SHORT_AFTERMATH_SECONDS = 0.5

# What is done to processes is looked at by itself. That answers are slow excuses nobody: a lease is
# much longer than any of them takes.
_NO_OUTAGES = {"kill", "freeze", "terminate", "terminate twice", "slow answers"}


@attrs.define
class Execution:
    """A handler at work on a job.

    Attributes:
        worker: Whose.
        receipt: The delivery.
        attempt: Which attempt it is, as the handler sees it.
        began: When.
        is_plain: Whether the handler runs in a thread, which nothing can stop.
        ended: When; infinity if never.
        how: ``returned``, ``cancelled``, the class of what it raised, or nothing.
        late: Whether it ended after its time was up.
    """

    worker: str
    receipt: Receipt
    attempt: int
    began: float
    is_plain: bool
    ended: float = math.inf
    how: str = ""
    late: bool = False

    @property
    def msg_id(self) -> int:
        """The job."""
        return self.receipt[0]


@attrs.frozen
class Window:
    """A time during which something was done to some workers.

    Attributes:
        what: What.
        whom: A worker, "w2." for all that hold a post, or None for all.
        begin: From when.
        end: Until when.
    """

    what: str
    whom: str | None
    begin: float
    end: float

    def concerns(self, worker: str, begin: float, end: float, aftermath: float = 0) -> bool:
        """Return whether it was done to a worker during some time, or so shortly before."""
        is_his = self.whom is None or worker == self.whom or self._is_his_post(worker)
        return is_his and self.begin <= end and self.end + aftermath >= begin

    def _is_his_post(self, worker: str) -> bool:
        return self.whom is not None and self.whom.endswith(".") and worker.startswith(self.whom)


@attrs.define
class Story:
    """The journal, put in order.

    Attributes:
        executions: Every execution, in the order of their beginnings.
        killed: When workers were killed, by name.
        frozen: Times during which workers were frozen, or got no time by themselves.
        strikes: Times during which the network or the database was struck.
        told: What workers' hooks told, by kind, worker and job: when.
        given_up: The jobs that workers gave up when they stopped.
        stopped_now: When workers were asked to stop now.
        exits: Exit codes, by worker, with when.
        asked: When workers were asked to stop.
        began: Workers that got as far as to begin work.
        crashed: Workers whose own job killed them.
        errors: What workers said that gave out.
        count: How often what was written down.
        kinds: How often which kind of strike hit.
    """

    executions: list[Execution] = attrs.field(factory=list)
    killed: dict[str, float] = attrs.field(factory=dict)
    frozen: list[Window] = attrs.field(factory=list)
    strikes: list[Window] = attrs.field(factory=list)
    told: defaultdict[tuple[str, str, int], list[float]] = attrs.field(
        factory=lambda: defaultdict(list)
    )
    given_up: dict[str, set[int]] = attrs.field(factory=dict)
    stopped_now: dict[str, float] = attrs.field(factory=dict)
    exits: dict[str, tuple[int, float]] = attrs.field(factory=dict)
    asked: dict[str, float] = attrs.field(factory=dict)
    began: set[str] = attrs.field(factory=set)
    crashed: set[str] = attrs.field(factory=set)
    errors: dict[str, str] = attrs.field(factory=dict)
    count: Counter[str] = attrs.field(factory=Counter)
    kinds: Counter[str] = attrs.field(factory=Counter)

    def by_job(self) -> dict[int, list[Execution]]:
        """Return the executions of each job."""
        jobs: defaultdict[int, list[Execution]] = defaultdict(list)
        for execution in self.executions:
            jobs[execution.msg_id].append(execution)
        return jobs

    def was_frozen(self, worker: str, begin: float, end: float) -> bool:
        """Return whether a worker was frozen, or got no time, during some time."""
        return any(window.concerns(worker, begin, end) for window in self.frozen)

    def was_struck(self, worker: str, begin: float, end: float) -> bool:
        """Return whether a worker's network or the database was struck during some time."""
        return any(
            window.concerns(worker, begin, end, _aftermath(window.what)) for window in self.strikes
        )


def _aftermath(what: str) -> float:
    return SHORT_AFTERMATH_SECONDS if what == "end connections" else AFTERMATH_SECONDS


def tell_story(journal: Iterable[Entry]) -> Story:
    """Put a journal in order."""
    entries = list(journal)
    story = Story(count=Counter(entry.what for entry in entries))
    story.kinds.update(entry.more["kind"] for entry in entries if entry.what == "strike")
    _tell_executions(story, entries)
    _tell_workers(story, entries)
    standstills = list(_standstills(entries))
    story.frozen = [*_windows(entries, "freeze", "thaw", "worker"), *standstills]
    strikes = _windows(entries, "strike", "struck", "whom")
    story.strikes = [window for window in strikes if window.what not in _NO_OUTAGES]
    story.strikes += [window for window in standstills if window.whom is None]
    return story


def _standstills(entries: Iterable[Entry]) -> Iterator[Window]:
    """Yield the times during which a process got no time: a worker, or the soak and so anybody."""
    for entry in entries:
        if entry.what == "standstill":
            whom = None if entry.who == "soak" else entry.who
            yield Window("stood still", whom, entry.more["begin"], entry.at)


def _tell_executions(story: Story, entries: Iterable[Entry]) -> None:
    running: dict[tuple[str, Receipt], Execution] = {}
    for entry in entries:
        if entry.what not in {"start", "end"}:
            continue
        receipt = entry.more["msg_id"], entry.more["read_ct"]
        if entry.what == "start":
            more = entry.more["attempt"], entry.at, entry.more["is_plain"]
            execution = Execution(entry.who, receipt, *more)
            story.executions.append(execution)
            running[entry.who, receipt] = execution
        else:
            execution = running[entry.who, receipt]
            execution.ended = entry.at
            execution.how, execution.late = entry.more["how"], entry.more["late"]


def _tell_workers(story: Story, entries: Iterable[Entry]) -> None:
    for entry in entries:
        if entry.who == "soak":
            _tell_order(story, entry)
        elif "msg_id" in entry.more and entry.what not in {"start", "end"}:
            story.told[entry.what, entry.who, entry.more["msg_id"]].append(entry.at)
        else:
            _tell_state(story, entry)


def _tell_order(story: Story, entry: Entry) -> None:
    """What the soak did to a worker, or saw of it."""
    match entry.what:
        case "kill":
            story.killed.setdefault(entry.more["worker"], entry.at)
        case "term":
            story.asked.setdefault(entry.more["worker"], entry.at)
        case "stop now":
            story.stopped_now.setdefault(entry.more["worker"], entry.at)
        case "exit":
            story.exits[entry.more["worker"]] = entry.more["code"], entry.at


def _tell_state(story: Story, entry: Entry) -> None:
    """What a worker said of itself."""
    match entry.what:
        case "worker_started":
            story.began.add(entry.who)
        case "crash":
            story.crashed.add(entry.who)
            story.killed.setdefault(entry.who, entry.at)
        case "report":
            story.given_up[entry.who] = set(entry.more["given_up"])
        case "gave out":
            story.errors[entry.who] = entry.more["error"]


def _windows(entries: Iterable[Entry], begin: str, end: str, key: str) -> Iterator[Window]:
    """Yield the times between what begins and what ends something, for each whom apart."""
    open_since: dict[tuple[str, str | None], float] = {}
    for entry in entries:
        if entry.what in {begin, end}:
            what, whom = entry.more.get("strike", begin), entry.more[key]
            if entry.what == begin:
                open_since[what, whom] = entry.at
            elif (since := open_since.pop((what, whom), None)) is not None:
                yield Window(what, whom, since, entry.at)
    for (what, whom), since in open_since.items():
        yield Window(what, whom, since, math.inf)
