"""Random histories: what references.needed_by finds is what the model of the specification finds."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from gitlob_rsync.git.paths import to_pathspecs
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.placeholder import Sha
from gitlob_rsync.selection import usage
from gitlob_rsync.selection.references import needed_by
from gitlob_rsync.selection.scopes import Committed, Recent, Scope, Unpushed, Window
from tests.support.histories import LOBS, NOW, Node, Random, Tree, ages, few, histories, made, windows
from tests.support.model import Needs, anywhere
from tests.support.work import DAY

SPECS = {
    "d": r"d(/.*)?",
    "e": r"e(/.*)?",
    "d/s": r"d/s(/.*)?",
    "*.bin": r".*\.bin",
    "*/s/*": r".*/s/.*",
    "d/*": r"d/.*",
    ":(glob)*/a.bin": r"[^/]*/a\.bin",
    ":(icase)D/A.BIN": r"d/a\.bin",
    ":(literal)-x": r"-x",
    "-x": r"-x",
    ":/e/s": r"e/s(/.*)?",
}
"""Pathspecs, and as regular expressions what they mean (gitglossary(7))."""


@dataclass(frozen=True)
class Limit:
    """Pathspecs, and the paths they choose."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def pathspecs(self) -> tuple[str, ...]:
        return tuple(to_pathspecs(self.include, self.exclude))

    @property
    def chosen(self) -> Callable[[bytes], bool]:
        def some(specs: tuple[str, ...], path: str) -> bool:
            return any(re.fullmatch(SPECS[spec], path, re.DOTALL) for spec in specs)

        def chooses(path: bytes) -> bool:
            text = path.decode()
            return (not self.include or some(self.include, text)) and not some(self.exclude, text)

        return chooses if self.include or self.exclude else anywhere


specs = st.lists(st.sampled_from(sorted(SPECS)), max_size=2, unique=True).map(tuple)
limits = st.one_of(st.just(Limit()), st.just(Limit()), st.builds(Limit, specs, specs))


def agree(repo: Repo, scope: Scope, model: Needs) -> None:
    """All binaries, each at all its paths; and where one path is enough, at one that is true."""
    every = needed_by(repo, scope, every_path_of=set(map(Sha, model)))
    assert {sha: sorted(paths) for sha, paths in every.items()} == {sha: sorted(paths) for sha, paths in model.items()}
    one = needed_by(repo, scope)
    assert one.keys() == model.keys()
    assert all(len(paths) == 1 and paths[0] in model[sha] for sha, paths in one.items())
    event(f"{min(len(model), 4)} binaries")


@few
@given(histories, limits)
def test_committed(random: Random, limit: Limit) -> None:
    with made(random) as (repo, model, _):
        agree(repo, Committed(pathspecs=limit.pathspecs), model.needed_by(model.committed(), limit.chosen))


@few
@given(histories, limits, st.data())
def test_committed_and_unpushed_of_refs(random: Random, limit: Limit, data: st.DataObject) -> None:
    with made(random) as (repo, model, commits):
        chosen = data.draw(st.lists(st.sampled_from(commits), min_size=1, max_size=3))
        agree(
            repo,
            Committed(tuple(chosen), pathspecs=limit.pathspecs),
            model.needed_by(model.committed(chosen), limit.chosen),
        )
        agree(repo, Unpushed(tuple(chosen), limit.pathspecs), model.needed_by(model.unpushed(chosen), limit.chosen))


@few
@given(histories, limits)
def test_unpushed(random: Random, limit: Limit) -> None:
    with made(random) as (repo, model, _):
        agree(repo, Unpushed(pathspecs=limit.pathspecs), model.needed_by(model.unpushed(), limit.chosen))


@settings(few, max_examples=2 * few.max_examples)
@given(histories, windows, st.sampled_from(["origin", "other", "orig", None]), limits)
def test_window(random: Random, days: Window, remote: str | None, limit: Limit) -> None:
    with made(random) as (repo, model, _):
        scope = Recent(days, NOW, remote, pathspecs=limit.pathspecs)
        needed = model.recent(days.refs, days.head, days.other, NOW, remote)
        agree(repo, scope, model.needed_by(needed, limit.chosen))


@few
@given(histories, ages, ages, limits, st.data())
def test_window_of_refs(random: Random, head: float, other: float, limit: Limit, data: st.DataObject) -> None:
    with made(random) as (repo, model, commits):
        named = {commit: (commit, other) for commit in commits}
        named |= {ref.removeprefix("refs/"): (tips[0], other) for ref, tips in model.refs.items() if tips}
        at = commits[random.head] if isinstance(random.head, int) else named.get(f"heads/{random.head}", [None])[0]
        if at:
            named["HEAD"] = (at, head)
        refs = data.draw(st.lists(st.sampled_from(sorted(named)), min_size=1, max_size=3))
        scope = Recent(Window(0, head, other), NOW, None, tuple(refs), limit.pathspecs)
        agree(repo, scope, model.needed_by(model.recent_of([named[ref] for ref in refs]), limit.chosen))


@few
@given(histories, limits, st.data())
def test_what_comes_after_known_commits(random: Random, limit: Limit, data: st.DataObject) -> None:
    """With what the known commits need it is everything; and it is nothing but what the others need."""
    with made(random) as (repo, model, commits):
        known = data.draw(st.lists(st.sampled_from(commits), min_size=1, max_size=3))
        found = needed_by(repo, Committed(known=tuple(known), pathspecs=limit.pathspecs))
        done = model.history(known)
        new = model.needed_by(model.committed() - done, limit.chosen)
        assert found.keys() >= new.keys() - model.needed_by(done, limit.chosen).keys()
        assert found.keys() <= new.keys()
        assert all(paths[0] in new[sha] for sha, paths in found.items())


@few
@given(histories)
def test_who_needs_a_binary(random: Random) -> None:
    """All paths, and exactly the refs that reach a commit which has it; a tip without a ref is named once."""
    with made(random) as (repo, model, _):
        paths = model.needed_by(model.committed())
        found = usage.find(repo, [Sha(sha) for sha in paths] + [Sha("0" * 40)])
        assert {sha: set(need.paths) for sha, need in found.items()} == paths
        behind = {ref: model.needed_by(model.history(tips)) for ref, tips in model.refs.items()}
        others = (model.heads | model.stashes) - {tip for tips in model.refs.values() for tip in tips}
        nameless = [model.needed_by(model.history([tip])) for tip in others]
        for sha, need in found.items():
            refs = [name for name in need.refs if name.startswith("refs/")]
            assert refs == [ref for ref in model.refs if sha in behind[ref]]
            assert len(need.refs) - len(refs) == sum(sha in needed for needed in nameless)
        some = sorted(found)[::3]
        assert usage.find(repo, some) == {sha: found[sha] for sha in some}


@pytest.mark.parametrize("late", [0, 1])
def test_both_bounds_are_inclusive(late: int) -> None:
    """A ref of exactly the age counts, as does a commit of exactly the age; one second more, and they do not."""
    trees: list[Tree] = [{"a.bin": ("100644", content)} for content in LOBS[:4]]
    dates = [NOW - 20 * DAY, NOW - 8 * DAY - late, NOW - 5 * DAY, NOW - 5 * DAY - late]
    nodes = [Node((0,) if 0 < n < 2 else (1,) if n == 2 else (), dates[n], tree) for n, tree in enumerate(trees)]
    with made(Random(nodes, {"heads/main": 2, "heads/b": 3}, {}, "none", None, [], False)) as (repo, _, commits):
        scope = Recent(Window(5 * DAY, 0, 3 * DAY), NOW)
        found = {content for content in LOBS if content[9:].decode() in needed_by(repo, scope)}
        # the commit before the tip is its parent and counts in any case; what it replaced counts if it does itself
        assert found == ({LOBS[0], LOBS[1], LOBS[2], LOBS[3]} if not late else {LOBS[1], LOBS[2]})
        assert len(commits) == 4
