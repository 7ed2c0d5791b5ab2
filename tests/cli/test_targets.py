"""Which store a command works on, as options and environment say."""

from pathlib import Path

import pytest

from perdure.cli.targets import Embedded, Service, Target
from perdure.client.endpoints import Endpoints
from perdure.errors import UsageError

SERVICE = {
    "S2_ACCOUNT_ENDPOINT": "http://localhost:1",
    "S2_BASIN_ENDPOINT": "http://localhost:1",
    "S2_ACCESS_TOKEN": "secret",
}
EVERYTHING = {**SERVICE, "PERDURE_DATA": "data"}


@pytest.mark.parametrize(
    ("target", "environment", "place"),
    [
        (Target(data="here"), {**EVERYTHING, "PERDURE_ENGINE": "postgres://h/d"}, Embedded("here")),
        (Target(engine="postgres://h/d"), EVERYTHING, Embedded("postgres://h/d")),
        (Target(endpoint="http://h:1"), EVERYTHING, Service(Endpoints("http://h:1", "http://h:1"), "secret")),
        (Target(endpoint="http://h:1"), {}, Service(Endpoints("http://h:1", "http://h:1"), None)),
        (Target(), EVERYTHING, Embedded("data")),
        (Target(), {**SERVICE, "PERDURE_ENGINE": "postgres://h/d"}, Embedded("postgres://h/d")),
        (Target(), SERVICE, Service(Endpoints("http://localhost:1", "http://localhost:1"), "secret")),
        (Target(), {"S2_ACCESS_TOKEN": "secret"}, Service(Endpoints(), "secret")),
    ],
)
def test_options_go_before_the_engine_and_that_before_the_service(
    target: Target, environment: dict[str, str], place: Embedded | Service
) -> None:
    assert target.place(environment) == place


def test_without_any_of_them_all_are_named() -> None:
    with pytest.raises(UsageError) as told:
        Target().place({"PERDURE_DATA": ""})
    for name in ("--data", "PERDURE_DATA", "--engine", "PERDURE_ENGINE", *SERVICE, "--endpoint"):
        assert name in told.value.message


@pytest.mark.parametrize(
    ("target", "environment", "message"),
    [
        (Target(data="a", engine="postgres://h/d"), {}, "--data and --engine are two stores"),
        (Target(data="a", endpoint="http://h"), {}, "--data and --endpoint are two stores"),
        (
            Target(),
            {"PERDURE_DATA": "a", "PERDURE_ENGINE": "postgres://h/d"},
            "PERDURE_ENGINE and PERDURE_DATA are two",
        ),
        (Target(), {"S2_ACCOUNT_ENDPOINT": "http://h"}, "S2_BASIN_ENDPOINT is not: set both"),
        (Target(), {name: SERVICE[name] for name in list(SERVICE)[:2]}, "S2_ACCESS_TOKEN is not set"),
        (Target(data="a", token_file="f"), {}, "--token-file is for a service"),
        (Target(token_file="/none/at/all"), {}, "cannot read the access token from /none/at/all: No such file"),
    ],
)
def test_what_says_two_things_or_half_of_one_is_refused(
    target: Target, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        target.place(environment)


def test_a_token_comes_from_a_file_and_is_never_told(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file\n")
    place = Target(endpoint="http://h:1", token_file=str(file)).place({"S2_ACCESS_TOKEN": "other"})
    assert isinstance(place, Service)
    assert place.token == "from-the-file"
    assert "from-the-file" not in repr(place)
    file.write_text("two words of a secret")
    with pytest.raises(UsageError, match="holds no access token") as told:
        Target(token_file=str(file)).place({})
    assert "secret" not in told.value.message
