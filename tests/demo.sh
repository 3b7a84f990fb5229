#!/bin/sh
# The main job in a temporary folder: a repository with binaries, a store elsewhere, and a clone that brings the recent
# ones. `make demo` puts the programs on PATH. Ends with 0 only if everything came out as it says.
set -eu

for program in gitlob-sync gitlob-filter gitlob-setup; do
    command -v "$program" >/dev/null || { echo "$program is not on PATH: run this as make demo" >&2 && exit 1; }
done
for variable in $(env | sed -n 's/^\(GIT_[A-Z_]*\)=.*/\1/p'); do unset "$variable"; done
top=$(mktemp -d)
trap 'cd / && rm -rf "$top"' EXIT
trap 'exit 130' INT TERM
cd "$top"
mkdir home
export HOME="$top/home" XDG_CONFIG_HOME="$top/home" GIT_CONFIG_NOSYSTEM=1 LC_ALL=C
git config --global user.name Demo
git config --global user.email demo@example.org
git config --global init.defaultBranch main
git config --global advice.detachedHead false
git config --global core.abbrev 7

if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold='' plain=''; fi
say() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
run() {
    printf '$ %s\n' "$*"
    sh -c "$*" 2>&1
}
check() { "$@" >/dev/null || { printf '\nthe demo failed: %s\n' "$*" >&2 && exit 1; }; }
sum=$(command -v sha1sum >/dev/null && echo sha1sum || echo shasum)
version() { # DAYS_AGO COMMENT: a commit as if it had been made then
    GIT_COMMITTER_DATE="$(($(date +%s) - $1 * 86400)) +0000"
    GIT_AUTHOR_DATE=$GIT_COMMITTER_DATE
    export GIT_COMMITTER_DATE GIT_AUTHOR_DATE
    git add -A
    git commit -q -m "$2"
    unset GIT_COMMITTER_DATE GIT_AUTHOR_DATE
}
noise() { head -c "$1" /dev/urandom; }

say 'A repository that keeps *.png as binaries; their store is in a folder, it could be nas:/srv/binaries.'
run git init -q game
cd game
run "gitlob-setup -q origin $top/store"
run "echo '*.png filter=lob -text' > .gitattributes"

say 'Two years of history: a logo that changes now and then, a map that never does, a hero drawn this month.'
noise 400000 >map.png
for days in 700 500 300 100 20 2; do
    noise 300000 >logo.png
    [ "$days" -gt 20 ] || noise 200000 >hero.png
    version "$days" "the state of $days days ago"
done
run 'git log --format="%h %cs %s" --stat=60'

say 'git holds placeholders of 49 bytes; the content lies in the local store.'
run 'git cat-file -p HEAD:logo.png; echo'
run 'du -sh .git/git-lob/content .git/objects'

say 'Push: all that commits refer to, by rsync.'
run gitlob-sync --push
say 'Once more: nothing is left to do.'
run gitlob-sync --push

say 'A clone gets history and placeholders, no content.'
cd "$top"
run git clone -q game clone
cd clone
run 'ls -l *.png; cat logo.png; echo'

say 'Pull what the states of the last 30 days need, and fill in the files.'
run "gitlob-setup -q origin $top/store"
run gitlob-sync --pull --window 30d
run ls -l
run git status
for file in logo.png hero.png map.png; do check cmp "$file" "../game/$file"; done
check test -z "$(git status --porcelain)"

say 'All came right; what only older states need stayed away (- for a size: not here).'
run 'gitlob-sync --list --committed'
run "$sum *.png"
check test "$(gitlob-sync --list --committed | grep -c ' - ')" = 3

say 'An old state, when it is wanted after all: git checkout brings its content by itself.'
old=$(git rev-list HEAD | tail -n 2 | head -n 1)
run "git checkout -q $(git rev-parse --short "$old")"
run git status --short
check test "git-lob: $($sum <logo.png | cut -c1-40)" = "$(git cat-file -p HEAD:logo.png)"
check test -z "$(git status --porcelain)"

printf '\nDone: every file has its content, and git status is clean. The folder of the demo goes now.\n'
