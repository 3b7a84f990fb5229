"""Chooses the transport for a location: the one place that knows them all."""

from gitlob_rsync.location import Location
from gitlob_rsync.progress import Meter
from gitlob_rsync.transport.base import Options, Transport
from gitlob_rsync.transport.retry import Retrying
from gitlob_rsync.transport.rsync import flags
from gitlob_rsync.transport.rsync.transport import RsyncTransport


def connect(location: Location, options: Options, meter: Meter) -> Transport:
    """Return a transport for the store at a location; the caller closes it. It connects when it is first used. Raises
    UsageError if a program that the transport needs is not installed."""
    # a path, ssh, or a daemon: rsync reaches all of them
    return Retrying(RsyncTransport(location, options, meter), options.retries, meter)


def rsync_version() -> str:
    """The version of this machine's rsync, as `gitlob-setup --check` reports it. Raises UsageError if there is none, or it
    is too old."""
    return ".".join(map(str, flags.local_version()))
