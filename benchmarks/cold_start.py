"""How long until `relay serve` with its own PostgreSQL and Valkey is ready?

    python benchmarks/cold_start.py [--starts 5] [--json PATH]

From starting the process to the first 200 of `/readyz`. The first start makes the databases; each one after it finds
them. CPU is that of the relay's process alone: most of it goes into importing what it is made of.
"""

import statistics

from _relay import Relay, cpu_seconds
from _report import Report, parser


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--starts", type=int, default=5)
    options = arguments.parse_args()
    report = Report("cold_start", options.json)
    later = []
    relay = Relay()
    try:
        for number in range(options.starts + 1):
            took = relay.start()
            report.row(start=number + 1, s_to_ready=took, s_of_CPU=cpu_seconds([relay.pid]))
            if number:
                later.append(took)
            relay.stop()
    finally:
        relay.__exit__(None, None, None)
    report.aim("s to ready, a start that finds its data (median)", statistics.median(later), 3)
    report.write()


if __name__ == "__main__":
    main()
