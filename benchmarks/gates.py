"""Power of gates: how often a verdict is given, by number of images, discordance and margin. Prints Markdown tables.

    python -m benchmarks.gates

2,000 made-up pairs a cell; a share is known to about one point.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ensembles.gates import GateRule
from tests.gate_simulation import simulated

IMAGES = (1000, 2000, 5000, 10_000, 50_000)
DISCORDANCES = (0.02, 0.05, 0.10)
MARGINS = (0.0025, 0.005, 0.01)


def main() -> None:
    """Print a table a question."""
    print("Share of PASS where both are equally good:\n")
    _table(lambda _: 0.0, "pass")
    print("\nShare of FAIL where the candidate is worse by two margins:\n")
    _table(lambda margin: 2 * margin, "fail")


def _table(difference: Callable[[float], float], verdict: str) -> None:
    print(f"| discordant | margin, points | {' | '.join(f'n = {n:,}' for n in IMAGES)} |")
    print(f"|---:|---:|{'---:|' * len(IMAGES)}")
    for discordance in DISCORDANCES:
        for margin in MARGINS:
            cells = []
            for n in IMAGES:
                rule = GateRule("top1_error", margin)
                if difference(margin) > discordance:
                    cells.append("")
                    continue
                verdicts = simulated(n, discordance, difference(margin), rule, seed=n)[2]
                cells.append(f"{math.floor(100 * float((verdicts == verdict).mean()) + 0.5)} %")
            print(f"| {100 * discordance:g} % | {100 * margin:g} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
