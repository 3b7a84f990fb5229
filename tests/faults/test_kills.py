"""kill -9 of each process, at random moments of all that moves binaries: nothing is lost, the next plain run completes."""

import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.killing import OURS, Crowd, Ended, Kill
from tests.faults.kit import dice, ended, fault, times
from tests.faults.scenes import Add, Checkout, CheckoutHere, FixUp, Pull, Purge, Push, RemotePurge, Scene
from tests.support.places import make_place

SSH = ("ssh", "the far rsync")
DAEMON = ("the far rsync",)
PATH = ("the child of rsync",)
SYNC = ("gitlob-sync", "rsync", "git")
CHECKOUT = ("git", "gitlob-filter", "rsync")
ALL = [
    # what, where, who dies, how often: usually, and in make torture
    (Push, "path", (*SYNC, *PATH), 3, 18),
    (Push, "ssh", (*SYNC, *SSH), 0, 15),
    (Push, "daemon root", (*SYNC, *DAEMON), 1, 20),
    (Pull, "path", (*SYNC, *PATH), 2, 18),
    (Pull, "ssh", (*SYNC, *SSH), 0, 15),
    (Pull, "daemon root", (*SYNC, *DAEMON), 0, 16),
    (Add, "path", ("git", "gitlob-filter"), 2, 30),
    (CheckoutHere, "path", ("git", "gitlob-filter"), 2, 24),
    (Checkout, "path", (*CHECKOUT, *PATH), 0, 18),
    (Checkout, "ssh", (*CHECKOUT, *SSH), 1, 15),
    (FixUp, "path", (*SYNC, *PATH), 1, 18),
    (Purge, "path", ("gitlob-purge", "rsync", "git", *PATH), 0, 20),
    (Purge, "path, shared", ("gitlob-purge", "git"), 2, 16),
    (RemotePurge, "path", ("gitlob-purge", "rsync", *PATH), 1, 15),
    (RemotePurge, "ssh", ("gitlob-purge", "rsync", *SSH), 0, 8),
    (RemotePurge, "daemon root", ("gitlob-purge", "rsync", *DAEMON), 0, 9),
]
KILLS = [
    pytest.param(kind, where, roles, kills, id=f"{kind.__name__} {where}")
    for kind, where, roles, usual, torture in ALL
    if (kills := times(usual, torture))
]


@pytest.fixture
def crowd(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowd]:
    """With a TMPDIR whose name is so short that ssh can keep its connection by a socket there."""
    where = request.node.callspec.params["where"]
    server = request.getfixturevalue("rsyncd").pid if "daemon" in where else None
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        found = Crowd(tmp_path, server)
        yield found
        found.end()
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(("kind", "where", "roles", "kills"), KILLS)
def test_kills(
    tmp_path: Path, request: pytest.FixtureRequest, crowd: Crowd, kind: type[Scene], where: str,
    roles: tuple[str, ...], kills: int,
) -> None:  # fmt: skip
    """The moment is drawn from those at which that process was at work when nobody disturbed it."""
    place, _, shared = where.partition(", ")
    scene = kind(tmp_path, make_place(place, request), crowd, bool(shared))
    rng = dice(f"{kind.what}, {where}")
    order = rng.sample(roles, len(roles))
    undisturbed = crowd.run(kind.argv, scene.work.path, scene.folders)
    assert undisturbed.code == 0, undisturbed.stderr
    for number in range(kills):
        role = order[number % len(order)]
        done = kill(scene, role, rng, undisturbed.seen)
        with fault(f"kill -9 of {role} in a {kind.what}"):
            if done.code != -signal.SIGKILL:
                ended(done.code, done.stderr, *codes(kind.argv[0], role))
            crowd.settle()
            scene.check_kill(role, done)
            for left in (scene.work.path / ".git").rglob("*.lock"):
                if "git-lob" not in left.parts:  # a killed git's: its user removes it
                    left.unlink()
            for argv in kind.then or (kind.argv,):
                plain = crowd.run(argv, scene.work.path, scene.folders)
                assert plain.code == 0, plain.stderr
            crowd.settle()
            scene.check_end(role)


def kill(scene: Scene, role: str, rng: random.Random, moments: dict[str, list[int]]) -> Ended:
    """Have it done from the start, and kill on the way; again where it came too late."""
    within = role in OURS and rng.random() < 0.5
    most = 100
    for _ in range(20):
        scene.begin()
        # one of a few milliseconds may not have been seen
        after = rng.randrange(most) if within else rng.choice(moments.get(role, [0]))
        most = max(1, after)
        done = scene.crowd.run(scene.argv, scene.work.path, scene.folders, Kill(role, after, rng, within))
        if done.killed:
            return done
        scene.crowd.settle()
    raise AssertionError(f"there was no {role} to kill")


def codes(program: str, role: str) -> tuple[int, ...]:
    """How a command may end if another process is killed; 0 where that was done already."""
    if program == "git":
        return (0, 1, 128) if role in ("git", *OURS) else (0,)
    return (0, 1) if role == "git" else (0, 4)
