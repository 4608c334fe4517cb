#!/usr/bin/env bash
# Readings from a shell, each line a way of its own: copy the one that you like.
#
#   ./send.sh HOST [DEVICE [PORT [HTTP_PORT]]]
#
# From another machine HTTP wants the gateway's access token: NARU_TOKEN=$(naru token).
set -euo pipefail

host=${1:?usage: send.sh HOST [DEVICE [PORT [HTTP_PORT]]]}
device=${2:-$(hostname)}
port=${3:-7700}
http=${4:-7780}

# bash alone, over UDP: what the kernel knows about this machine
echo "system,device=$device load=$(cut -d' ' -f1 /proc/loadavg),uptime=$(cut -d' ' -f1 /proc/uptime)" >"/dev/udp/$host/$port"

# bash alone, over TCP, with an acknowledgement: {"ack":1}
exec 3<>"/dev/tcp/$host/$port"
echo "{\"device\":\"$device\",\"seq\":$(date +%s),\"ack\":true,\"memory.free\":$(awk '/MemAvailable/ {printf "%.0f", $2 * 1024}' /proc/meminfo)}" >&3
read -r -t 10 answer <&3
exec 3>&-
echo "$answer"

# netcat, over UDP, as StatsD
if command -v nc >/dev/null; then
  echo "$device.users:$(who | wc -l)|g" | nc -u -w1 "$host" "$port"
fi

# curl, over HTTP: answered when it is on the disk
curl --fail --silent --show-error ${NARU_TOKEN:+-H "Authorization: Bearer $NARU_TOKEN"} \
  --data-binary "disk,device=$device used=$(df -k / | awk 'NR == 2 {printf "%.0f", $3 * 1024}')i" "http://$host:$http/api/v1/write"
