"""The floor of branch coverage for each single module, beside the one for all (setup.cfg).

usage: coverage json -o - | python .ci/module_floor.py PERCENT

Prints the modules below the floor and exits with status 1 if there are any. A module that no test
imports or starts is in the report with 0 %.
"""

import json
import sys


def main() -> int:
    """Compare each module of the report on stdin with the floor; return the exit status."""
    floor = float(sys.argv[1])
    files = json.load(sys.stdin)["files"]
    low = {
        name: share
        for name, report in files.items()
        if (share := report["summary"]["percent_covered"]) < floor
    }
    for name, share in sorted(low.items()):
        print(f"{name}: {share:.1f} % is covered, less than {floor:g} %")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
