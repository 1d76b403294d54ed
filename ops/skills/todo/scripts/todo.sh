#!/usr/bin/env bash
# A to-do list in one file of the workspace. See SKILL.md.
set -euo pipefail

file=todo.txt
tasks_max=500
length_max=500

fail() {
    echo "$1" >&2
    exit "${2-1}"
}

count() {
    if [ -f "$file" ]; then grep -c '' "$file" || true; else echo 0; fi
}

list() {
    [ "$(count)" -gt 0 ] || {
        echo "Nothing to do."
        return
    }
    local number=0 line
    while IFS= read -r line; do
        number=$((number + 1))
        echo "$number. $line"
    done <"$file"
}

# Into place in one step, so that a list is whole or as it was.
save() {
    cat >"$file.new"
    mv -- "$file.new" "$file"
}

number() {
    [[ ${1-} =~ ^[0-9]{1,4}$ ]] || fail "Which one? Give the number that list shows." 2
    local wanted=$((10#$1))
    if [ "$wanted" -lt 1 ] || [ "$wanted" -gt "$(count)" ]; then fail "There is no task $wanted."; fi
    echo "$wanted"
}

mark() {
    local at
    at=$(number "${2-}")
    sed "${at}s/^\[.\]/[$1]/" "$file" | save
    sed -n "${at}p" "$file"
}

command=${1-list}
[ $# -eq 0 ] || shift
case $command in
add)
    task=$(printf '%s' "$*" | tr '\n\r\t' '   ' | tr -d '\000-\037')
    [ -n "${task// /}" ] || fail "What is to be done? Give the task after add." 2
    [ "${#task}" -le "$length_max" ] || fail "A task has at most $length_max characters."
    [ "$(count)" -lt "$tasks_max" ] || fail "The list is full: $tasks_max tasks."
    { if [ -f "$file" ]; then cat "$file"; fi; printf '[ ] %s\n' "$task"; } | save
    echo "$(count). [ ] $task"
    ;;
list) list ;;
done) mark x "$@" ;;
undo) mark ' ' "$@" ;;
remove)
    at=$(number "${1-}")
    sed -n "${at}p" "$file"
    sed "${at}d" "$file" | save
    ;;
clear)
    [ ! -f "$file" ] || { grep -v '^\[x\]' "$file" || true; } | save
    list
    ;;
*) fail "I know add TASK, list, done N, undo N, remove N and clear." 2 ;;
esac
