"""What a policy says of itself, and what it finds wrong with its configuration. Knows nothing of what it decides."""

from wit_world.exports.lifecycle import Description, Problem, Setup


def description(schema: str = "") -> Description:
    """Its name and version, with the JSON Schema of its configuration; empty if it takes none."""
    return Description(name="{{name}}", version="0.1.0", configuration_schema=schema, attrs=[])


def expect_nothing(setup: Setup) -> list[Problem]:
    """For a policy that takes no configuration."""
    if setup.configuration.strip() in ("", "null", "{}"):
        return []
    return [Problem("", "this policy takes no configuration: leave it out")]


def require_column(setup: Setup, name: str) -> list[Problem]:
    """For a policy that cannot do without a column of the feed."""
    if any(column.name == name for column in setup.columns):
        return []
    return [Problem("", f"this host offers no column {name}")]
