"""The ways to a store."""

import os
from collections.abc import Iterator

import pytest

from gitlob_rsync.location import parse
from gitlob_rsync.progress import Silent
from gitlob_rsync.transport.base import Options, Transport
from gitlob_rsync.transport.choose import connect
from tests.support.places import Place, make_place


@pytest.fixture(params=["path", "ssh", "daemon", "daemon root"])
def place(request: pytest.FixtureRequest) -> Place:
    """daemon: a folder below a module; daemon root: the module itself."""
    return make_place(request.param, request)


@pytest.fixture
def remote(place: Place) -> Iterator[Transport]:
    """A transport to the place, made as jobs make one."""
    options = Options(timeout=60, client="client", ssh_command=os.environ.get("GIT_SSH_COMMAND"))
    transport = connect(parse(place.location), options, Silent("test"))
    yield transport
    transport.close()
