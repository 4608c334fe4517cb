#!/bin/sh
# Prints every message as a line of JSON, each reading once: long polling with curl,
# for where nothing else is.
#
#     NARU_TOKEN=... ./watch.sh http://127.0.0.1:7780 'greenhouse*'

url=${1:-http://127.0.0.1:7780}
device=${2:-*}
cursor=

while :; do
    # Without a cursor the gateway answers at once, with the newest of each series.
    message=$(curl -sS --fail --get --max-time 60 \
        ${NARU_TOKEN:+-H "Authorization: Bearer $NARU_TOKEN"} \
        --data-urlencode "device=$device" -d "after=$cursor" -d last=1 -d wait=25s \
        "$url/api/v1/live") || { sleep 2; continue; }
    case $message in
    *'"readings":[]'*) ;;
    *) printf '%s\n' "$message" ;;
    esac
    cursor=$(printf '%s' "$message" | sed 's/^[^{]*{"type":"[a-z]*","cursor":"\([^"]*\)".*/\1/')
done
