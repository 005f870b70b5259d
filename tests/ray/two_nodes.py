"""A run on a cluster of two worker nodes, one of which is taken away in the middle.

Started as a process of its own by the test, because a process has one Ray. Writes `report.json`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from clipmill.pipeline.engine.ledger import Ledger
from clipmill.pipeline.engine.ray_engine import RayEngine
from clipmill.pipeline.engine.worker import Job
from clipmill.pipeline.store.store import Store
from clipmill.schemas.records import Part
from clipmill.stages.stage import Stage, StageSettings
from tests.ray.test_ray_engine import videos
from tests.unit.pipeline.chains import chain, entry, parcel, standard


class Linger(Stage[StageSettings]):
    """Long enough for a node to leave in the middle of it."""

    needs = frozenset({"segments:windows"})
    own_actor = True

    def process(self, part: Part) -> Part:
        time.sleep(0.3)
        return part


def main(folder: Path) -> None:
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=3), cluster.add_node(num_cpus=3)]
    cluster.wait_for_nodes()
    engine = RayEngine(cluster.address)
    plan = chain(*standard(pieces=2), entry(Linger(StageSettings())), max_segments=1, attempts=3)
    store = Store.open(folder / "out")
    inputs = videos(folder / "media", 30)
    ended = []
    for number, done in enumerate(
        engine.stream(Job(plan, store), [parcel(video) for video in inputs])
    ):
        ended.append(done)
        if number == 5:
            leave = {"node": nodes[1], "allow_graceful": False}
            threading.Thread(target=cluster.remove_node, kwargs=leave).start()
    entries = Ledger(store, plan.final).scan()
    workers = {lap.worker for done in ended for lap in done.laps}
    (folder / "report.json").write_text(
        json.dumps(
            {
                "receipts": len(ended),
                "distinct": len({(d.receipt.video, d.receipt.part) for d in ended if d.receipt}),
                "failed": sum(
                    d.receipt is not None and d.receipt.failure is not None for d in ended
                ),
                "complete": sum(held.complete for held in entries.values()),
                "workers": len(workers),
            }
        )
    )
    engine.close()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
