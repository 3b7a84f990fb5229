"""Checks of `gitlob-setup --track` before it adds a line to .gitattributes: that the pattern can match anything, that it
does not turn files into binaries that git and we have to read, and that no other line overrides it.

git itself says what a pattern matches: it is asked about a temporary folder with the future .gitattributes files.
"""

import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from gitlob_rsync import process
from gitlob_rsync.errors import UsageError
from gitlob_rsync.git.repo import Repo
from gitlob_rsync.jobs import setup
from gitlob_rsync.placeholder import READ_BY_NAME

EXCEPTION = "!filter !text !merge"
_PROBE = "gitlob-probe"
_MOST = 500
"""The most .gitattributes files below the current folder that are looked at."""
_CLASSES = {"digit": "0", "xdigit": "0", "upper": "A", "space": " ", "blank": " ", "punct": ","}
_MAGIC = re.compile(r"\A:(?:\([^)]*\)|/)")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_CLASS = re.compile(r"\[[!^]?\]?[^\]]*\]")
_BRACES = re.compile(r"(?<!\\)\{([^{}]*,[^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Plan:
    """The `lines` to add to the file at `path`, and `remarks` for the user."""

    path: str
    lines: list[str]
    remarks: list[str]


def plan(repo: Repo, patterns: Collection[str]) -> Plan:
    """Plan the tracking of `patterns` in the current folder. Raises UsageError for a pattern that matches nothing as it is
    written, or only files that cannot be binaries."""
    if not repo.work_tree:
        raise UsageError(f"{repo.git_dir} has no working tree", "--track needs one")
    for pattern in patterns:
        _check(pattern, repo.cwd, repo.work_tree)
    path, lines = setup.untracked(repo, patterns)
    ours = os.path.relpath(path, repo.work_tree)
    files = _attributes(repo, ours)
    before = files.get(ours, "")
    after = _joined(before, lines)
    folder = ours.removesuffix(".gitattributes")
    read = {f"{folder}{below}{name}": name for name in READ_BY_NAME for below in ("", "x/")}
    values = _filters(repo, {ours: after}, read)
    excepted = [name for name in READ_BY_NAME if any(values[at] == "lob" for at, of in read.items() if of == name)]
    lines = lines + [f"{name} {EXCEPTION}" for name in excepted]
    return Plan(path, lines, list(_remarks(repo, patterns, ours, files, _joined(before, lines))))


def _joined(text: str, lines: list[str]) -> str:
    return "".join([text, "\n" if text and not text.endswith("\n") else "", *(f"{line}\n" for line in lines)])


def _check(pattern: str, cwd: str, top: str) -> None:
    """Raises UsageError for a pattern that git accepts but that matches no file; the hint has one that would."""

    def refuse(why: str, *forms: str, where: str = "") -> UsageError:
        better = " ".join(f"'{form}'" for form in forms)
        return UsageError(f"the pattern {pattern!r} {why}", f"write {better}{where}" if better else where)

    if _DRIVE.match(pattern):
        raise refuse("is an absolute Windows path, and matches nothing", where=f"files are tracked below {top}")
    if (name := _sample(pattern).rpartition("/")[2]) in READ_BY_NAME:
        raise refuse(f"matches {name}, which is read as it is committed: it cannot be a binary")
    plain = _MAGIC.sub("", pattern)
    if plain != pattern:
        raise refuse("is a pathspec, which .gitattributes does not support", plain.lstrip("/") or "*")
    if found := _BRACES.search(pattern):
        head, tail = pattern[: found.start()], pattern[found.end() :]
        raise refuse(
            "has braces, which git does not expand", *(f"{head}{one}{tail}" for one in found[1].split(",")),
            where=" as separate patterns",
        )  # fmt: skip
    unescaped = re.sub(r"\\.", "", pattern)
    if unescaped.endswith("\\"):
        raise refuse("ends with a backslash, and matches nothing", pattern[:-1] or "*")
    if "[" in _CLASS.sub("", unescaped):
        raise refuse("has a [ without a closing ], and matches nothing", re.sub(r"(?<!\\)\[", r"\\[", pattern))
    if ".git" in pattern.split("/"):
        raise refuse("is in git's own folder, where nothing is tracked", where="files are tracked beside it")
    whole = os.path.expanduser(pattern) if pattern.startswith("~/") else pattern
    first = whole.split("/")[1] if whole.startswith("/") else ""
    if whole.startswith("/") and (
        whole != pattern
        or whole.startswith((f"{cwd}/", f"{top}/"))
        or (whole.count("/") > 1 and os.path.isdir(f"/{first}") and not os.path.lexists(os.path.join(cwd, first)))
    ):
        why = "is an absolute path, and matches nothing: patterns are relative to the folder of .gitattributes"
        if whole.startswith(f"{cwd}/"):
            raise refuse(why, _below(whole[len(cwd) + 1 :], cwd))
        if whole.startswith(f"{top}/"):
            raise refuse(why, _below(whole[len(top) + 1 :], top), where=f" in {top}")
        raise refuse(why, where=f"files are tracked below {top}")
    if ".." in pattern.split("/"):
        target = os.path.relpath(os.path.normpath(os.path.join(cwd, pattern.strip("/"))), top)
        if target == ".." or target.startswith("../"):
            raise refuse("leads out of the repository", where=f"files are tracked below {top}")
        raise refuse("contains .., and matches nothing", _below(target, top), where=f" in {top}")
    better = _below(pattern, cwd)
    if better != pattern:
        why = "names a folder, and matches none of the files in it"
        raise refuse(why if better.endswith("/**") else "matches nothing as it is written", better)


def _below(pattern: str, folder: str) -> str:
    """A pattern without the parts that git would take literally (`.`, `//`); for a folder, the pattern for all its
    files."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts:
        return "*"
    plain = ("/" if pattern.startswith("/") else "") + "/".join(parts)
    return f"{plain}/**" if pattern.endswith("/") or os.path.isdir(os.path.join(folder, *parts)) else plain


def _attributes(repo: Repo, ours: str) -> dict[str, str]:
    """The .gitattributes files that apply to the current folder and below: path from the top -> content."""
    assert repo.work_tree
    parts = os.path.dirname(ours).split("/") if "/" in ours else []
    above = ["/".join([*parts[:count], ".gitattributes"]) for count in range(len(parts) + 1)]
    listed = repo.run("ls-files", "-z", "--full-name", "--", ":(glob)**/.gitattributes").split(b"\0")[:_MOST]
    found = {}
    for name in [*above, *(os.fsdecode(name) for name in listed if name)]:
        at = os.path.join(repo.work_tree, name)
        with suppress(OSError), open(at, encoding="utf-8", errors="surrogateescape", newline="") as file:
            if not os.path.islink(at):
                found[name] = file.read()
    return found


def _filters(repo: Repo, files: Mapping[str, str], paths: Collection[str], attribute: str = "filter") -> dict[str, str]:
    """git's value of an attribute for each of `paths`, with `files` as the only .gitattributes files in the working
    tree."""
    with tempfile.TemporaryDirectory(prefix="gitlob-") as top:
        for name, text in files.items():
            at = os.path.join(top, name)
            os.makedirs(os.path.dirname(at), exist_ok=True)
            with open(at, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(text)
        env = {name: value for name, value in repo.env.items() if name != "GIT_ATTR_SOURCE"}
        env |= {"GIT_WORK_TREE": top, "GIT_INDEX_FILE": os.path.join(top, ".git-no-index")}
        asked = b"".join(os.fsencode(path) + b"\0" for path in paths)
        said = process.run(repo.argv("check-attr", "-z", "--stdin", attribute), env=env, cwd=top, input=asked)
    fields = [os.fsdecode(part) for part in said.split(b"\0")[:-1]]
    return dict(zip(fields[::3], fields[2::3], strict=True))


def _remarks(repo: Repo, patterns: Collection[str], ours: str, files: Mapping[str, str], after: str) -> Iterator[str]:
    """Remarks about other lines that concern the same files."""
    folder = ours.removesuffix(".gitattributes")
    samples = {pattern: folder + made for pattern in patterns if (made := _sample(pattern))}
    below = [os.path.dirname(name) for name in files if name != ours and name.startswith(folder)]
    for pattern, sample in samples.items():
        alone = {ours: setup.attribute_line(pattern).removesuffix(setup.ATTRIBUTES) + f"{_PROBE}\n"}
        others = [os.path.join(at, os.path.basename(sample)) for at in below]
        reached = [at for at, value in _filters(repo, alone, [sample, *others], _PROBE).items() if value == "set"]
        was = _filters(repo, files, reached)
        now = _filters(repo, {**files, ours: after}, reached)
        for at in reached:
            if now[at] != "lob":
                where = _culprit(repo, {**files, ours: after}, at, now[at])
                yield f"{pattern}: {where} sets {_notation(now[at])} for {at}, which overrides it: remove that line"
            elif was[at] not in ("lob", "unspecified", "unset"):
                where = _culprit(repo, files, at, was[at])
                yield (
                    f"{pattern}: {where} sets {_notation(was[at])} for the same files: remove that line, and store "
                    "the files again with git add --renormalize"
                )


def _culprit(repo: Repo, files: Mapping[str, str], path: str, value: str) -> str:
    """The line that gives a path its filter: the last one that does so on its own."""
    elsewhere = ".git/info/attributes, or core.attributesFile,"
    top, base = ".gitattributes", f"* filter={_PROBE}\n"  # tells a line that does not apply from one that says !filter
    if _filters(repo, {top: base}, [path])[path] == value:
        return elsewhere
    for name in sorted(files, key=lambda name: name.count("/"), reverse=True):
        lines = files[name].split("\n")
        macros = [line for line in lines if line.startswith("[attr]")]
        words = ["filter", *(macro.removeprefix("[attr]").split()[0] for macro in macros)]
        for line in reversed(lines):
            if line not in macros and not line.startswith("#") and any(word in line for word in words):
                alone = "".join(f"{one}\n" for one in (*macros, line))
                if _filters(repo, {top: base, name: base * (name == top) + alone}, [path])[path] == value:
                    return f"the line {line.strip()!r} of {name}"
    return elsewhere


def _notation(value: str) -> str:
    return {"unset": "-filter", "unspecified": "!filter", "set": "filter"}.get(value, f"filter={value}")


def _sample(pattern: str) -> str:
    """An example of a path that a pattern matches, as far as one can be made up."""
    made, rest = "", pattern.lstrip("/")
    while rest:
        if rest.startswith("**/"):
            rest = rest[3:]
        elif rest[0] in "*?":
            made, rest = f"{made}x", rest.lstrip("*") if rest[0] == "*" else rest[1:]
        elif rest[0] == "\\" and len(rest) > 1:
            made, rest = made + rest[1], rest[2:]
        elif found := re.match(r"\[([!^]?)((?:\[:\w+:\]|\\.|[^\]])(?:\[:\w+:\]|\\.|[^\]])*)\]", rest):
            made, rest = made + _one_of(found[2], bool(found[1])), rest[found.end() :]
        else:
            made, rest = made + rest[0], rest[1:]
    return made


def _one_of(members: str, others: bool) -> str:
    if others:
        return next((char for char in "x0_X~" if char not in members and "[:" not in members), "_")
    named = re.match(r"\[:(\w+):\]", members)
    return _CLASSES.get(named[1], "a") if named else members.removeprefix("\\")[0]
