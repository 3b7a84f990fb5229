"""The manual pages: they render, and say what --help and the code say."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.work import ROOT

PROGRAMS = sorted(at.name for at in (ROOT / "bin").iterdir())
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "CONFIGURATION", "FILES", "EXIT STATUS", "EXAMPLES", "NOTES"]
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")


def page_of(program: str) -> Path:
    return ROOT / "man" / f"{program}.1"


def rendered(program: str) -> str:
    argv = ["groff", "-man", "-Tascii", "-P-cbou", str(page_of(program))]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def sections(program: str) -> dict[str, str]:
    """The page as plain text, by section."""
    parts = re.split(r"^(\S.*)\n", rendered(program), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def help_of(program: str) -> str:
    return subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout


def options_of(program: str) -> set[str]:
    """The options at the beginnings of --help's lines: `-n, --dry-run`, `--ref REF [REF ...]`."""
    lines = re.findall(r"^  (-\S.*?)(?:  |$)", help_of(program), re.MULTILINE)
    return {option for line in lines for option in OPTION.findall(line)}


def headings_of(program: str) -> set[str]:
    """The options at the beginnings of the entries under OPTIONS."""
    lines = re.findall(r"^ {7}(-\S.*?)(?:  |$)", sections(program)["OPTIONS"], re.MULTILINE)
    return {option for line in lines for option in OPTION.findall(line)}


def exit_codes(text: str, indent: int) -> dict[str, str]:
    found = re.findall(rf"^ {{{indent}}}(\d+) +(\S.*(?:\n {{{indent + 5},}}\S.*)*)", text, re.MULTILINE)
    return {code: " ".join(meaning.split()) for code, meaning in found}


def test_every_program_has_a_page_and_every_page_a_program() -> None:
    assert [f"{program}.1" for program in PROGRAMS] == sorted(at.name for at in (ROOT / "man").iterdir())


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("device", ["utf8", "ascii"])
def test_a_page_renders_without_warning(program: str, device: str) -> None:
    argv = ["groff", "-man", "-ww", f"-T{device}", "-z", str(page_of(program))]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_page_has_all_sections_in_order(program: str) -> None:
    found = list(sections(program))
    assert [name for name in found if name in SECTIONS] == SECTIONS
    assert sections(program)["NAME"].split()[:2] == [program, "-"]


@pytest.mark.smoke
@pytest.mark.parametrize("program", PROGRAMS)
def test_options_are_those_of_help(program: str) -> None:
    options = options_of(program)
    assert {"--help", "-h", "--version"} <= options
    assert headings_of(program) == options
    assert set(OPTION.findall(sections(program)["SYNOPSIS"])) <= options


def test_no_page_names_an_option_that_no_program_has() -> None:
    known = set().union(*map(options_of, PROGRAMS))
    for program in PROGRAMS:
        named = {option for option in OPTION.findall(rendered(program)) if option.startswith("--")}
        assert named <= known, program


@pytest.mark.parametrize("program", PROGRAMS)
def test_exit_codes_are_those_of_help(program: str) -> None:
    told = exit_codes(help_of(program).partition("exit codes:\n")[2], 2)
    written = exit_codes(sections(program)["EXIT STATUS"], 7)
    assert list(told) == ["0", "1", "2", "3", "4", "5", "70", "130"]
    assert written == told | {"130": written["130"]}
    assert written["130"].startswith(told["130"])


def test_the_exit_table_is_the_same_in_every_page() -> None:
    tables = {
        page_of(program).read_text().partition(".SH EXIT STATUS\n")[2].partition("\n.PP\n")[0] for program in PROGRAMS
    }
    assert len(tables) == 1


def configuration_of(program: str) -> set[str]:
    return set(re.findall(r"git-lob\.[a-z-]+", sections(program)["CONFIGURATION"]))


def keys_of_the_code() -> set[str]:
    code = "".join(at.read_text() for at in (ROOT / "gitlob_rsync").rglob("*.py"))
    keys = set(re.findall(r'"(git-lob\.[a-z-]+)"', code)) | {"git-lob.sharedstore"}
    assert {"git-lob.fetch-refs", "git-lob.fsync"} <= keys
    return keys


def test_every_key_that_the_code_reads_is_in_a_page() -> None:
    assert keys_of_the_code() - set().union(*map(configuration_of, PROGRAMS)) == set()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_page_names_no_other_keys(program: str) -> None:
    assert configuration_of(program) - keys_of_the_code() == set()


def test_the_page_of_sync_names_where_stores_are() -> None:
    page = sections("gitlob-sync")["CONFIGURATION"]
    keys = ("remote.NAME.git-lob-path", "remote.NAME.git-lob-provider", "core.sshCommand", "GIT_SSH_COMMAND")
    assert [key for key in keys if key not in page] == []
