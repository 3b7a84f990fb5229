"""Where the content of files that are checked out comes from: the store, or one download."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from gitlob_rsync.errors import GitlobError, line_of
from gitlob_rsync.filter.convert import Filter
from gitlob_rsync.placeholder import Sha


@dataclass(frozen=True, slots=True)
class Origin:
    """Where what git checks out comes from, according to git: the full name of a ref, and a commit or tree. Either may be
    empty, as in a checkout from the index."""

    ref: str = ""
    treeish: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where missing binaries come from. `download` brings those that are available, returns why others could not be asked
    for ("": they do not exist there), and raises GitlobError if none can; None: nothing may be downloaded, and `reason`
    says why. `final`: what the checkout writes meanwhile does not change that. With `must_have`, a file whose binary is
    not available is an error. `hint`: what brings them later."""

    download: Callable[[Collection[Sha]], str] | None
    reason: str = ""
    must_have: bool = False
    hint: str = "gitlob-sync --checkout fetches it"
    final: bool = False


class Supply:
    """Content for placeholders: from the store, and what is missing there from one download. The source is determined when
    the first binary is missing: git add needs none."""

    def __init__(self, filter: Filter, find_source: Callable[[Origin], Source]) -> None:
        self.filter = filter
        self.origin = Origin()
        """Of the latest request."""
        self.waiting = 0
        """Files that stayed placeholders."""
        self._find_source = find_source
        self._failure = ""
        self._unasked = ""

    @property
    def _source(self) -> Source:
        return self._find_source(self.origin)

    @property
    def reason(self) -> str:
        """Why files stayed placeholders, and what brings their content later."""
        source = self._source
        return f"{self._failure or self._unasked or source.reason or 'the remote lacks it'} ({source.hint})"

    @property
    def must_have(self) -> bool:
        return self._source.must_have

    @property
    def can_bring(self) -> bool:
        """Whether a download may help. An unreachable host costs one timeout, not one a file: after a failure there is no
        further attempt."""
        source = self._source
        return (source.download is not None or not source.final) and not self._failure

    def bring(self, shas: Collection[Sha]) -> None:
        """Download what is available of `shas`."""
        download = self._source.download
        if download and not self._failure:
            try:
                self._unasked = download(sorted(shas)) or self._unasked
            except GitlobError as error:
                self._failure = str(error)
            except OSError as error:
                self._failure = line_of(error)

    def load(self, sha: Sha) -> Iterable[bytes] | None:
        """The content, if it is here by now; None, counting one more file that waits, if it is not."""
        content = self.filter.load(sha)
        self.waiting += content is None
        return content
