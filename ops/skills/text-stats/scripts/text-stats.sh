#!/usr/bin/env bash
# Counts a text and lists its most frequent words. See SKILL.md.
set -euo pipefail

usage() {
    echo "Usage: text-stats [--top N] [--file NAME | TEXT…]" >&2
    exit 2
}

top=5
file=
while [ $# -gt 0 ]; do
    case $1 in
    --top)
        [[ ${2-} =~ ^[0-9]{1,3}$ ]] || usage
        top=$((10#$2))
        shift 2
        ;;
    --file)
        [ $# -ge 2 ] || usage
        file=$2
        shift 2
        ;;
    --help) usage ;;
    --)
        shift
        break
        ;;
    *) break ;;
    esac
done
if [ "$top" -lt 1 ] || [ "$top" -gt 100 ]; then usage; fi

if [ -n "$file" ]; then
    [ -f "$file" ] || {
        echo "There is no file $file here." >&2
        exit 1
    }
    text=$(tr -d '\000' <"$file")
elif [ $# -gt 0 ]; then
    text=$*
else
    text=$(tr -d '\000')
fi
[ -n "$text" ] || {
    echo "The text is empty." >&2
    exit 1
}

lines=$(printf '%s\n' "$text" | wc -l)
words=$(printf '%s\n' "$text" | wc -w)
characters=$(printf '%s' "$text" | wc -m)
sentences=$(printf '%s\n' "$text" | tr -s '[:space:]' '\n' | grep -cE "[.!?][\"')]*\$" || true)
minutes=$(((words + 219) / 220))

echo "Lines: $lines"
echo "Words: $words"
echo "Characters: $characters"
echo "Sentences: $sentences"
echo "Reading time: about $minutes min"
echo "Most frequent words:"
printf '%s\n' "$text" |
    awk '{ for (i = 1; i <= NF; i++) { w = tolower($i); gsub(/^[[:punct:]]+|[[:punct:]]+$/, "", w)
        if (length(w) > 2) n[w]++ } } END { for (w in n) print n[w] "\t" w }' |
    LC_ALL=C sort -t "$(printf '\t')" -k1,1nr -k2,2 |
    awk -F '\t' -v top="$top" 'NR <= top { print "  " $2 ": " $1 }'
