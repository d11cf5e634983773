#!/bin/sh
# Runs a PostgreSQL of its own, in a directory of its own, for whoever holds this script's standard input open: prints the
# directory of its socket, and stops and cleans up when the input ends.
set -eu
bin=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/farwatch-postgres.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap '' TERM INT HUP
"$bin/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --no-sync --encoding=UTF8 --locale=C >"$dir/initdb.log" 2>&1 ||
  { cat "$dir/initdb.log" >&2; exit 1; }
# No port: nobody else's can be in the way.
"$bin/pg_ctl" --pgdata="$dir/data" --log="$dir/server.log" --wait --timeout=60 \
  --options="-k '$dir' -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=400" start >/dev/null ||
  { cat "$dir/server.log" >&2; exit 1; }
echo "$dir"
cat >/dev/null
"$bin/pg_ctl" --pgdata="$dir/data" --mode=immediate stop >/dev/null
