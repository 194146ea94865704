"""{{name}}: one transport a tick, from the fullest shard to the emptiest. Knows nothing of how a transport moves."""

# The host finds the feed's receiving end here.
from cluster import ClusterFeed as ClusterFeed
from cluster import all_rows, column, open_rows
from lifecycle import description, expect_nothing
from wit_world import exports
from wit_world.exports.balancing import BalanceAnswer, BalanceRequest, Wish
from wit_world.exports.lifecycle import Description, Problem, Setup


class Lifecycle(exports.Lifecycle):
    def describe(self) -> Description:
        return description()

    def configure(self, setup: Setup) -> list[Problem]:
        return expect_nothing(setup)


class Balancing(exports.Balancing):
    def balance(self, request: BalanceRequest) -> BalanceAnswer:
        transports = column("transports")
        # With those that were promised and that no report shows yet.
        expected = [sum(both) for both in zip(transports, column("reserved-transports"))]

        # Of equally full ones the last, of equally empty ones the first.
        fullest = max(all_rows(), key=lambda row: (transports[row], row), default=None)
        emptiest = min(open_rows(), key=lambda row: expected[row], default=None)
        if fullest is None or emptiest is None or transports[fullest] <= expected[emptiest] + 1:
            return BalanceAnswer(wishes=[], attrs=[])
        return BalanceAnswer(wishes=[move(fullest, emptiest)], attrs=[])


def move(from_row: int, to_row: int) -> Wish:
    return Wish(
        action="move",
        from_row=from_row,
        to_row=to_row,
        amount=1,
        unit="transports",
        reason="to level the shards",
        attrs=[],
    )
