"""{{name}}: a shared screen comes before every face, and a camera never takes all. Knows nothing of how a layer is
chosen.
"""

from lifecycle import description, expect_nothing
from wit_world import exports
from wit_world.exports.lifecycle import Description, Problem, Setup
from wit_world.exports.sharing import ShareAnswer, ShareRequest, Table
from wit_world.imports.types import Column

CAMERA_KBPS = 1_500
"""What one camera may take of anybody's bit rate."""
PERIODS = 3
"""An answer holds for so many periods at most."""


class Lifecycle(exports.Lifecycle):
    def describe(self) -> Description:
        return description()

    def configure(self, setup: Setup) -> list[Problem]:
        return expect_nothing(setup)


class Sharing(exports.Sharing):
    def share(self, request: ShareRequest) -> ShareAnswer:
        tracks = list(zip(labels(request.tracks, "kind"), labels(request.tracks, "source")))
        # Sound is not divided: it is always sent first, and whole. What is 0 is left to the host's own rule.
        screens = [kind == "video" and source == "screen" for kind, source in tracks]
        faces = [kind == "video" and source != "screen" for kind, source in tracks]
        return ShareAnswer(
            tracks=[
                Column("ceiling", "kbps", [CAMERA_KBPS if face else 0 for face in faces]),
                Column("priority", "level", [1 if screen else 0 for screen in screens]),
            ],
            valid_ms=PERIODS * request.period_ms,
            attrs=[],
        )


def labels(table: Table, name: str) -> list[str]:
    """What rows say in a column of texts; nothing where there is no such column."""
    told = next((column for column in table.labels if column.name == name), None)
    texts = [told.texts[text] if text < len(told.texts) else "" for text in told.values] if told else []
    return texts + [""] * (table.rows - len(texts))
