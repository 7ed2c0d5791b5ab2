"""What a declarative file changes: once it is done nothing is left to do, and what is not declared stays."""

from hypothesis import given
from hypothesis import strategies as st

from perdure import BasinConfig, InfiniteRetention, RetentionAge, StreamConfig, TimestampingConfig, TimestampingMode
from perdure.cli.declared_plan import Action, Actual, BasinStep, FieldChange, Step, plan
from perdure.cli.durations import duration_text
from perdure.model.configs import normalised_basin, resolve
from perdure.server.declared import DeclaredBasin, DeclaredStream, parse_duration
from tests.model.strategies import basin_configs, stream_configs

BASINS = st.sampled_from(["basin-one", "basin-two", "basin-three"])
STREAMS = st.sampled_from(["a", "b", "c/d"])

DECLARED = st.dictionaries(
    BASINS, st.tuples(basin_configs(), st.dictionaries(STREAMS, st.none() | stream_configs(), max_size=3)), max_size=3
).map(
    lambda basins: tuple(
        DeclaredBasin(name, config, tuple(DeclaredStream(*stream) for stream in streams.items()))
        for name, (config, streams) in basins.items()
    )
)


def taken(steps: tuple[Step, ...], actual: Actual) -> Actual:
    """What there is after the steps, by the rules of the store: its `ensure` replaces a whole configuration."""
    basins, streams = dict(actual.basins), dict(actual.streams)
    for step in steps:
        if isinstance(step, BasinStep):
            if step.action is not Action.KEEP:
                basins[step.basin] = step.config
        elif step.action is not Action.KEEP:
            basin = basins[step.basin].default_stream_config
            streams[step.basin, step.stream] = resolve(step.config, basin).as_layer()
    return Actual(basins, streams)


ACTUAL = DECLARED.map(lambda declared: taken(plan(declared, Actual({}, {})), Actual({}, {})))


@given(DECLARED, ACTUAL)
def test_after_the_steps_nothing_is_left_to_do(declared: tuple[DeclaredBasin, ...], actual: Actual) -> None:
    after = taken(plan(declared, actual), actual)
    assert {step.action for step in plan(declared, after)} <= {Action.KEEP}
    for basin in declared:
        assert resolve(None, after.basins[basin.name].default_stream_config) == resolve(
            None, basin.config.default_stream_config
        )


@given(DECLARED, ACTUAL)
def test_what_is_not_declared_stays(declared: tuple[DeclaredBasin, ...], actual: Actual) -> None:
    after = taken(plan(declared, actual), actual)
    named = {basin.name for basin in declared}
    streams = {(basin.name, stream.name) for basin in declared for stream in basin.streams}
    assert {name: after.basins[name] for name in actual.basins if name not in named} == {
        name: config for name, config in actual.basins.items() if name not in named
    }
    assert {key: after.streams[key] for key in actual.streams if key not in streams} == {
        key: config for key, config in actual.streams.items() if key not in streams
    }


@given(DECLARED, ACTUAL)
def test_every_step_tells_what_it_changes(declared: tuple[DeclaredBasin, ...], actual: Actual) -> None:
    steps = plan(declared, actual)
    assert [step.address for step in steps] == [
        address
        for basin in declared
        for address in (f"s2://{basin.name}", *(f"s2://{basin.name}/{stream.name}" for stream in basin.streams))
    ]
    for step in steps:
        known = (
            step.basin in actual.basins
            if isinstance(step, BasinStep)
            else step.address[5:] in {f"{basin}/{stream}" for basin, stream in actual.streams}
        )
        assert (step.action is Action.CREATE) == (not known)
        if known:
            assert (step.action is Action.CHANGE) == bool(step.fields)
            assert all(change.old != change.new for change in step.fields)


def test_a_change_is_told_field_by_field() -> None:
    actual = Actual(
        {"basin-one": BasinConfig(create_stream_on_append=True)},
        {("basin-one", "a"): resolve(None, None).as_layer(), ("basin-one", "b"): resolve(None, None).as_layer()},
    )
    declared = DeclaredBasin(
        "basin-one",
        normalised_basin(BasinConfig(StreamConfig(retention_policy=RetentionAge(604_800)))),
        (
            DeclaredStream("a", StreamConfig(retention_policy=InfiniteRetention())),
            DeclaredStream("b"),
            DeclaredStream("c", StreamConfig(timestamping=TimestampingConfig(TimestampingMode.ARRIVAL))),
        ),
    )
    assert [(step.action, step.fields) for step in plan((declared,), actual)] == [
        (Action.CHANGE, (FieldChange("create_stream_on_append", True, False),)),  # seven days are the default anyway
        (Action.CHANGE, (FieldChange("retention_policy", "7d", "infinite"),)),
        (Action.KEEP, ()),
        (Action.CREATE, (FieldChange("timestamping.mode", None, "arrival"),)),
    ]


@given(st.integers(0, 2**40))
def test_a_time_is_written_as_it_is_read(seconds: int) -> None:
    assert parse_duration(duration_text(seconds)) == seconds
