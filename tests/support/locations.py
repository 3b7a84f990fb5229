"""Locations: what rsync takes an argument for."""

import os
import re

from gitlob_rsync.errors import UsageError
from gitlob_rsync.location import Kind, parse

BASE = "/base/folder"


def rsync_takes_it_as(argument: str) -> Kind:
    """What rsync makes of a source or target (rsync's options.c, check_for_hostspec and parse_hostspec)."""
    if re.match("rsync://", argument, re.IGNORECASE):
        return Kind.DAEMON
    head = re.match(r"(?:[^@:/]*@)?(?:\[[^]/]*\]|[^:/]*)(::?)", argument)
    if not head:
        return Kind.PATH
    return Kind.DAEMON if head[1] == "::" else Kind.SSH


def check_place(text: str) -> None:
    """What is read as a location can be taken for nothing else, by rsync or by ssh."""
    try:
        place = parse(text, BASE)
    except UsageError as error:
        assert "\n" not in error.line()
        return
    argument = place.rsync_argument()
    assert not argument.startswith("-")
    assert argument.endswith("/")
    assert rsync_takes_it_as(argument) is place.kind
    assert not re.search(r"[\x00-\x1f\x7f]", argument)
    name = place.host.rpartition("@")[2]
    for part in (place.host, name, name.removeprefix("[")):
        assert not part.startswith("-"), "ssh would take it for an option"
    if place.kind is Kind.SSH:
        assert not re.split(r"[^:]:(?!:)", argument, maxsplit=1)[-1].startswith("-"), "the far shell would"
    if place.kind is Kind.PATH:
        assert os.path.isabs(place.path) and not place.host
    else:
        assert place.host and not re.search(r"[\s/'\"`;&<>|(){}]", place.host)
        assert not re.search(r"[$\\]", name), "a shell would act on it, where ssh's configuration calls one"
    assert place.port is None or 0 < place.port < 65536
    again = parse(str(place), "/somewhere/else")
    assert (again.kind, again.host, again.port) == (place.kind, place.host, place.port)
    assert again.rsync_argument() == argument
