#!/bin/sh
# third-party.sh: prints the licences of what is in the binary beside taprouter itself: Go's standard library, and the
# modules that it is built from.
set -eu

go=${GO:-go}
show() { # show NAME DIRECTORY
	found=
	for f in "$2"/[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]* "$2"/COPYING* "$2"/NOTICE*; do
		[ -f "$f" ] || continue
		found=yes
		printf '==== %s: %s\n\n' "$1" "$(basename "$f")"
		cat "$f"
		printf '\n'
	done
	[ -n "$found" ] || { echo "$1 has no licence in $2" >&2; exit 1; }
}

show "Go $("$go" env GOVERSION)" "$("$go" env GOROOT)"
CGO_ENABLED=0 "$go" list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' \
	./cmd/taprouter | LC_ALL=C sort -u | while read -r path version dir; do
	show "$path $version" "$dir"
done
