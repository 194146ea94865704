"""{{name}}: the shard with the shortest forwarding delay, in the region that was asked for if it can be. Knows nothing
of who asks.
"""

# The host finds the feed's receiving end here.
from cluster import ClusterFeed as ClusterFeed
from cluster import column, is_there, labels, open_rows
from componentize_py_types import Err
from lifecycle import description, expect_nothing, require_column
from wit_world import exports
from wit_world.exports.allocation import Placement, PlaceRequest, RelayParents
from wit_world.exports.lifecycle import Description, Problem, Setup
from wit_world.imports.types import Refusal

FAN_OUT = 8
"""Relays of one producer that may leave from one place before another becomes their parent."""


class Lifecycle(exports.Lifecycle):
    def describe(self) -> Description:
        return description()

    def configure(self, setup: Setup) -> list[Problem]:
        return expect_nothing(setup) + require_column(setup, "forward-delay-p99")


class Allocation(exports.Allocation):
    def place(self, request: PlaceRequest) -> Placement:
        if request.kind == "relay":
            row = nearest_parent(request.parents) if request.parents else None
        else:
            row = nearest(request.region_hint)
        if row is None:
            raise Err(Refusal(code="full", message="No shard is alive.", attrs=[]))
        return Placement(row=row, attrs=[])


def nearest(region: str | None) -> int | None:
    delays_us, regions = column("forward-delay-p99"), labels("region")
    return min(
        open_rows(),
        key=lambda row: (region is not None and region != regions[row], delays_us[row]),
        default=None,
    )


def nearest_parent(parents: RelayParents) -> int | None:
    """The fewest hops from the producer among those with a free branch, then the fewest relays; without one the fewest
    relays. One that drains only if it must be.
    """
    free = set(open_rows())

    def against(parent: tuple[int, int, int]) -> tuple[bool, bool, int, int]:
        row, depth, relays = parent
        taken = relays >= FAN_OUT
        return row not in free, taken, 0 if taken else depth, relays

    told = zip(parents.rows, parents.depth, parents.fan_out)
    chosen = min((parent for parent in told if is_there(parent[0])), key=against, default=None)
    return chosen[0] if chosen else None
