"""Random histories: no purge takes what the retention window, a stash, an index or an unpushed commit needs, or what the
remote lacks, and it takes the rest; right after it, a prefetch has nothing to bring."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from random import Random as Dice

from hypothesis import event, given, settings
from hypothesis import strategies as st

from gitlob_rsync.config import Settings
from gitlob_rsync.jobs.connection import Connection
from gitlob_rsync.jobs.context import Context
from gitlob_rsync.jobs.pull import pull
from gitlob_rsync.jobs.purge import PurgePlan, purge, retention
from gitlob_rsync.location import Remote, parse
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.progress import Meter
from gitlob_rsync.selection.scopes import Recent
from gitlob_rsync.store.local import Stores
from tests.support.handmade import check, placeholder, put, sha_of
from tests.support.histories import NOW, Random, few, histories, made, windows
from tests.support.model import Model

CONTENTS = [b"%d" % number for number in range(16)]
NEVER_COMMITTED = [b"staged", b"nobody's"]
REMOTES = ("origin", "other")


def fill_index(commit: str) -> None:
    """With the tree of a commit, and a binary that was staged and not committed."""
    subprocess.run(["git", "read-tree", commit], check=True)
    made = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], input=placeholder(b"staged"), stdout=subprocess.PIPE, check=True
    )
    entry = f"100644,{made.stdout.decode().strip()},staged.bin"
    subprocess.run(["git", "update-index", "--add", "--cacheinfo", entry], check=True)


def required(model: Model, window_commits: set[str], staged: str, held_there: set[str]) -> set[str]:
    """What must stay, by the five rules of the specification, without the grace time."""
    pushed = model.history(model._behind("refs/remotes/origin/"))
    must = model.needed_by({*window_commits, staged, *model.stashes, *(model.committed() - pushed)})
    return {*must, sha_of(b"staged"), *(model.needed_by(model.committed()).keys() - held_there)}


@settings(few, max_examples=max(few.max_examples // 2, 1))
@given(histories, windows, windows, st.integers(0, 1 << 30))
def test_a_purge_takes_what_nothing_needs_and_no_more(random: Random, kept: object, fetched: object, seed: int) -> None:
    dice = Dice(seed)
    with made(random) as (repo, model, commits):
        own, there = Path(repo.folder, "content"), Path("there").absolute()
        at_remote = dice.sample(CONTENTS, dice.choice([16, 16, 12]))
        for content in at_remote:
            put(there, content)
        put(there, b"of others")
        for content in [*CONTENTS, *NEVER_COMMITTED]:
            put(own, content)
        for at in own.glob("???/???/*"):
            os.utime(at, (NOW, NOW))
        staged = dice.choice(commits)
        fill_index(staged)
        window = retention(kept, fetched)  # type: ignore[arg-type]
        states = {
            commit for remote in REMOTES for commit in model.recent(window.refs, window.head, window.other, NOW, remote)
        }
        must = required(model, states, staged, {sha_of(content) for content in at_remote})
        remote = Remote("origin", parse(str(there)))
        stores, configured = Stores.load(repo), replace(Settings.load(repo), window=window)
        before = check(own)
        plan = PurgePlan(window, 0, NOW)
        context = Context(repo, stores, configured, Meter("test"))
        planned = purge(context, remote, replace(plan, dry_run=True))
        assert check(own) == before, "a dry run deletes nothing"
        done = purge(context, remote, plan)
        assert done == planned
        left = check(own)
        event(f"deleted {len(before - left)}")
        assert left >= must & before
        assert left == before - {verdict.sha for verdict in done if verdict.reason.goes}
        assert left <= must | model.needed_by(model.history(model.stashes)).keys(), "the rest goes"
        assert all((meta := stores.own.complete(Sha(sha))) and stores.own.sound(meta) for sha in must & before)
        for name in (None, *REMOTES):
            with Connection(context, remote) as connection:
                report = pull(connection, Recent(window, NOW, name), dry_run=True)
            assert report.transferred <= len(report.selected - before), "a prefetch brings nothing back"
