# Boots the machine's own systemd as process 1 of namespaces, with the machine's files and without its services. What is
# written there ends with it. The network namespace is the caller's.
#
#	sh boot.sh DIR NAME NOTIFY
#
# DIR is an empty directory, NAME is free among control groups, NOTIFY is a socket that hears READY=1 (sd_notify(3)).
# SIGTERM ends it all.
set -e
dir=$1 group=$2 notify=$3

if [ -z "$BOOTED" ]; then
	# A control group of its own, which is the root that systemd sees.
	mount --make-rprivate /
	mount -t tmpfs -o size=1g,mode=755 none "$dir"
	mkdir "$dir/group" "$dir/up" "$dir/work" "$dir/root"
	mount -t cgroup2 none "$dir/group"
	mkdir "$dir/group/$group"
	(
		sh -c 'echo "$PPID" >"$0"' "$dir/group/$group/cgroup.procs"
		BOOTED=yes exec setpriv --pdeathsig KILL \
			unshare --cgroup --mount --pid --uts --ipc --fork --kill-child sh "$0" "$@"
	) &
	trap 'kill -KILL $!' TERM
	wait $! || true
	wait $! || true # after a signal
	for _ in $(seq 100); do # what has been killed takes a moment to leave its group
		find "$dir/group/$group" -depth -type d -exec rmdir {} + 2>/dev/null && exit
		sleep 0.1
	done
	echo "control groups are left in $group"
	exit 1
fi

read -r pid _ </proc/self/stat # as the machine knows it
echo "process $pid"
root=$dir/root
mount -t overlay -o "lowerdir=/,upperdir=$dir/up,workdir=$dir/work" overlay "$root"
umount "$dir/group"
rm -rf "$root"/etc/systemd/system/* "$root"/lib/systemd/system/*.wants "$root/usr/sbin/policy-rc.d"
: >"$root/etc/fstab"
: >"$root/etc/machine-id"

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t proc proc "$root/mnt"
mount --bind "$root/mnt/sys/net" "$root/proc/sys/net" # of the network namespace
umount "$root/mnt"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 dev "$root/dev"
while read -r name mode major minor; do
	mkdir -p "$(dirname "$root/dev/$name")"
	mknod "$root/dev/$name" c "$major" "$minor"
	chmod "$mode" "$root/dev/$name"
done <<-END
	null 666 1 3
	zero 666 1 5
	full 666 1 7
	random 666 1 8
	urandom 666 1 9
	tty 666 5 0
	net/tun 666 10 200
END
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mkdir -p "$root/run/boot/old"
: >"$root/run/boot/notify"
mount --bind "$notify" "$root/run/boot/notify"

# Only what a service needs, and the journal.
cat >"$root/etc/systemd/system/boot.target" <<-END
	[Unit]
	Requires=basic.target
	Wants=systemd-journald.service
	After=basic.target systemd-journald.service
	AllowIsolate=yes
END
cd "$root"
pivot_root . run/boot/old
umount -l run/boot/old
exec env -i container=other PATH="$PATH" NOTIFY_SOCKET=/run/boot/notify \
	/lib/systemd/systemd --system --unit=boot.target --show-status=no </dev/null
