#!/bin/sh
# deb.sh VERSION: makes dist/taprouter_..._ARCH.deb of ./taprouter, which must be built. Two runs on one commit make the
# same bytes: all times are the commit's. `make deb` calls it.
set -eu
umask 022

go=${GO:-go}
stage=dist/stage
doc=$stage/share/doc/taprouter
rm -rf $stage
mkdir -p $doc/examples/systemd $stage/share/man/man1 $stage/share/bash-completion/completions \
	$stage/share/zsh/vendor-completions $stage/share/fish/vendor_completions.d

# A version of Debian begins with a digit. v1.2.3-4-gabc becomes 1.2.3+4.gabc; a commit without a tag before it becomes
# 0~DATE.COMMIT.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y go.mod)}
day=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d)
UPSTREAM=$(printf '%s' "$1" | sed -E 's/^v([0-9])/\1/; t tagged; s/^/0~'"$day"'./; : tagged; s/-/+/; s/-/./g')
ARCH=$(dpkg --print-architecture)
export SOURCE_DATE_EPOCH UPSTREAM ARCH

cp taprouter $stage/taprouter
./taprouter man $stage/share/man/man1
gzip -9n $stage/share/man/man1/*
./taprouter completion bash >$stage/share/bash-completion/completions/taprouter
./taprouter completion zsh >$stage/share/zsh/vendor-completions/_taprouter
./taprouter completion fish >$stage/share/fish/vendor_completions.d/taprouter.fish

packaging/third-party.sh | gzip -9n >$doc/third-party.gz
{
	echo "taprouter ($UPSTREAM-1) stable; urgency=medium"
	echo
	echo "  * Built from the commit that the version names."
	echo
	echo " -- taprouter maintainers <maintainers@users.noreply.r-seed-2c34a440.example>" \
		" $(date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >$doc/changelog.Debian.gz
gzip -9nc README.md >$doc/README.md.gz
cp examples/reference.toml examples/first.toml $doc/examples/
cp packaging/systemd/*.conf $doc/examples/systemd/

"$go" tool -modfile=internal/tools/go.mod nfpm package --config packaging/nfpm.yaml --packager deb --target dist/
