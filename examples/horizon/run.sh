#!/bin/bash
# OpenStack's dashboard, Horizon, for a router that runs:
#
#   taprouter run --listen 127.0.0.1:9696 --login-stub examples/126-vip-behind-floating-ip.toml
#   examples/horizon/run.sh
#
# It is Debian's Horizon, unchanged, as one process of an ordinary user. It lives in a temporary directory, which goes
# with it at Ctrl-C. Sessions are in the memory of the process. Nothing below /etc is written.
set -euo pipefail

listen=127.0.0.1:8000
api=http://127.0.0.1:9696
horizon=/usr/share/openstack-dashboard
here=$(cd "$(dirname "$0")" && pwd)

usage() {
	cat <<-END
		usage: $0 [--listen ADDRESS:PORT] [--api URL] [--physical-networks NAME,NAME]

		  --listen             where the dashboard is; a loopback address ($listen)
		  --api                where the router's API is; a loopback address, too ($api)
		  --physical-networks  what Create Network offers; the default is what the router's topology declares

		If the router has a token, TAPROUTER_TOKEN must be the same; it is the password of the login, too.
	END
}

wrong() {
	echo "run.sh: $*" >&2
	exit 2
}

# loopback says whether HOST:PORT or [HOST]:PORT is on loopback, by its digits: a name could be anything.
loopback() {
	local octet='(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
	[[ $1 =~ ^(127\.$octet\.$octet\.$octet|\[::1\]):[0-9]{1,5}$ ]]
}

while [ $# -gt 0 ]; do
	case $1 in
	--listen | --api | --physical-networks)
		[ $# -ge 2 ] || wrong "$1 needs a value; see $0 --help"
		case $1 in
		--listen) listen=$2 ;;
		--api) api=${2%/} ;;
		*) export TAPROUTER_PHYSICAL_NETWORKS=$2 ;;
		esac
		shift 2
		;;
	-h | --help)
		usage
		exit 0
		;;
	*) wrong "unknown argument $1; see $0 --help" ;;
	esac
done

listen=${listen/#localhost:/127.0.0.1:}
api=${api/#http:\/\/localhost:/http://127.0.0.1:}
loopback "$listen" ||
	wrong "--listen $listen: only loopback, such as 127.0.0.1:8000. The dashboard speaks plain HTTP. From another" \
		"host, forward the port: ssh -L 8000:127.0.0.1:8000 HOST"
[[ $api == http://* ]] && loopback "${api#http://}" ||
	wrong "--api $api: only loopback, such as http://127.0.0.1:9696; the router's --listen says where it is"

missing=
[ -r "$horizon/manage.py" ] || missing+=" openstack-dashboard"
[ -d /usr/lib/python3/dist-packages/octavia_dashboard ] || missing+=" python3-octavia-dashboard"
[ -z "$missing" ] || wrong "missing:$missing. Install what is missing:" \
	"apt-get install --no-install-recommends openstack-dashboard python3-octavia-dashboard curl"

curl -fsS -m 5 -o /dev/null "$api/identity/v3" ||
	wrong "no login at $api/identity: start the router with --listen ${api#http://} --login-stub"
! curl -s -m 2 -o /dev/null "http://$listen/" ||
	wrong "--listen $listen: something is there already; choose another port"

# Root becomes nobody, without any capability. If this script is killed, the dashboard ends, too.
as=(setpriv --pdeathsig KILL --no-new-privs)
dir=$(mktemp -d "${TMPDIR:-/tmp}/taprouter-horizon.XXXXXX")
child=
finish() {
	trap - EXIT INT TERM HUP
	if [ -n "$child" ]; then
		kill "$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	fi
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 0' INT TERM HUP
cp -r "$here/taprouter_dashboard" "$dir"
if [ "$(id -u)" = 0 ]; then
	as+=(--reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --bounding-set=-all)
	chown -R nobody:nogroup "$dir"
	chmod -R u+rwX,go+rX "$dir"
fi

# --insecure means that this process serves style sheets and scripts, too. Horizon's own server does not otherwise.
cd "$dir"
(
	token=${TAPROUTER_TOKEN-} physical=${TAPROUTER_PHYSICAL_NETWORKS-}
	for name in $(compgen -e); do unset "$name"; done
	export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME="$dir" TMPDIR="$dir" LANG=C.UTF-8 PYTHONPATH="$dir" \
		PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=taprouter_dashboard.settings TAPROUTER_API="$api" \
		TAPROUTER_LISTEN="$listen" TAPROUTER_TOKEN="$token" TAPROUTER_PHYSICAL_NETWORKS="$physical"
	exec "${as[@]}" /usr/bin/python3 "$horizon/manage.py" runserver --insecure --noreload "$listen"
) >"$dir/log" 2>&1 &
child=$!

until curl -s -m 5 -o /dev/null "http://$listen/auth/login/"; do
	if ! kill -0 "$child" 2>/dev/null; then
		cat "$dir/log" >&2
		echo "run.sh: the dashboard has ended" >&2
		exit 1
	fi
	sleep 0.1
done
echo "The dashboard is at http://$listen/. Log in as admin; the password is the router's token, or anything."
tail -n +1 -F --pid="$child" "$dir/log" 2>/dev/null &
wait "$child" || true
echo "run.sh: the dashboard has ended" >&2
exit 1
