"""What is measured: the scenarios, and in which of the reports' groups they are."""

from dataclasses import dataclass

__all__ = ["CORE", "SCENARIOS", "SWEEPS", "WORKLOADS", "Scenario"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """kind: typing (open loop), closed (writers wait), trace, cursors, idle, join, return, hold (documents in memory).

    rooms, clients of each, writers of each; rate: edits per second in all; window: edits on their way per writer, in
    a closed loop; unit: letters of an edit; slow: clients of each room that stop reading for the measured window;
    document: `paper` (260,000 keystrokes) or `authors` (10,000 of them), which is in every room; joins, at_once: how
    many come and how many of them together; sizes: documents held, in bytes, or connections counted; traces: what is
    written in each room.
    """

    name: str
    what: str
    kind: str = "typing"
    rooms: int = 1
    clients: int = 2
    writers: int = 2
    rate: float = 0.0
    window: int = 0
    unit: int = 1
    slow: int = 0
    document: str = ""
    joins: int = 0
    at_once: int = 1
    sizes: tuple[int, ...] = ()
    traces: tuple[str, ...] = ()

    @property
    def unit_of_work(self) -> str:
        """What CPU is given per."""
        return {"idle": "connection", "join": "join", "return": "reconnect", "hold": "document"}.get(self.kind, "edit")


CORE = (
    Scenario("pair", "2 clients type, 100 edits/s", rate=100),
    Scenario("room50", "1 room x 50 clients, 10 write, 100 edits/s", clients=50, writers=10, rate=100),
    Scenario("rooms100", "100 rooms x 10 clients, 2 write in each, 1000 edits/s", rooms=100, clients=10, rate=1000),
    Scenario("room500", "1 room x 500 clients, 5 write, 25 edits/s", clients=500, writers=5, rate=25),
    Scenario("1x200", "1 room x 200 clients, 50 write, 400 edits/s", clients=200, writers=50, rate=400),
    Scenario("aware50", "1 room x 50 cursors, 250 moves/s", "cursors", clients=50, writers=50, rate=250),
    Scenario("room50-sat", "1 room x 50 clients, 10 write, 4 edits on their way each", "closed", clients=50, writers=10,
             window=4),
    Scenario("room500-sat", "1 room x 500 clients, 5 write, 2 on their way each", "closed", clients=500, writers=5,
             window=2),
    Scenario("rooms100-sat", "100 rooms x 10 clients, 2 write, 2 on their way each", "closed", rooms=100, clients=10,
             window=2),
    Scenario("idle", "5,000 idle connections in 500 rooms", "idle", rooms=500, clients=10, at_once=64,
             sizes=(500, 1000, 2500, 5000)),
    Scenario("join-b4", "join a document of 260,000 keystrokes, one client at a time", "join", document="paper",
             joins=100),
    Scenario("join-herd", "join it, 50 clients at a time", "join", document="paper", joins=200, at_once=50),
)  # fmt: skip

WORKLOADS = (
    Scenario("presence-storm", "1 room x 100 cursors, 600 moves/s", "cursors", clients=100, writers=100, rate=600),
    Scenario("reconnect-storm", "500 clients of 50 rooms are cut off and come back at once", "return", rooms=50,
             clients=10, at_once=500),
    Scenario("slow-readers", "1 room x 50 clients, 5 write 200 x 8 KB/s, 5 others stop reading", clients=50, writers=5,
             rate=200, unit=8192, slow=5),
    Scenario("trace-typing", "4 rooms x 10 clients, in each one author writes on at a paper, a blog post or a program",
             "trace", rooms=4, clients=10, writers=1, rate=200,
             traces=("automerge-paper", "seph-blog1", "rustcode", "sveltecomponent")),
    Scenario("trace-concurrent", "4 rooms x 10 clients, in each two authors write on at once", "trace",
             rooms=4, clients=10, writers=3, rate=200, traces=("friendsforever", "clownschool") * 2),
    Scenario("authors10k", "2 clients type, 100 edits/s, in a document of 10,000 past authors", rate=100,
             document="authors"),
)  # fmt: skip

SWEEPS = (
    Scenario("size10", "1 room x 10 clients, 2 write, 100 edits/s", clients=10, rate=100),
    Scenario("size200", "1 room x 200 clients, 10 write, 100 edits/s", clients=200, writers=10, rate=100),
    *(
        Scenario(f"writers{n}", f"1 room x 50 clients, {n} write, 4 on their way each", "closed", clients=50, writers=n,
                 window=4)
        for n in (1, 3, 25, 50)
    ),
    Scenario("documents", "documents of 0.1 to 10 MB, each with one client", "hold",
             sizes=(100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)),
)  # fmt: skip

SCENARIOS = {scenario.name: scenario for scenario in CORE + WORKLOADS + SWEEPS}
