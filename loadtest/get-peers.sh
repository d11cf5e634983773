#!/usr/bin/env bash
# Unpacks prometheus and victoria-metrics from Debian sid into DIR, for `loadtest compare`.
#
#   loadtest/get-peers.sh DIR
#   loadtest compare --prometheus DIR/prometheus --victoria-metrics DIR/victoria-metrics ...
#
# The system stays as it is: apt gets a state, a cache and a source list of its own below DIR, packages are
# downloaded and unpacked but never installed, so that no service starts and no maintainer script runs.
# Debian's sid is a moving target; what was got is written to DIR/VERSIONS.
set -euo pipefail

if [[ $# -ne 1 || $1 == -* ]]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
mkdir -p "$1"
dir=$(cd "$1" && pwd)
# The mirror that this machine uses already.
mirror=$(apt-get indextargets --format '$(SITE)' 'Component: main' | grep -v security | sort | uniq -c | sort -rn |
    awk 'NR == 1 { print $2 }')
: "${mirror:?no Debian mirror is configured in apt}"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
packages=(prometheus victoria-metrics)

apt_dir=$dir/apt
mkdir -p "$apt_dir"/{lists/partial,cache/archives/partial,packages,no-parts}
# An empty status file: what the system has installed must not matter here.
: >"$apt_dir/status"
echo "deb [signed-by=$keyring] $mirror sid main" >"$apt_dir/sources.list"

own_state=(
    -o "Dir::Etc::sourcelist=$apt_dir/sources.list"
    -o "Dir::Etc::sourceparts=$apt_dir/no-parts"
    -o "Dir::Etc::preferencesparts=$apt_dir/no-parts"
    -o "Dir::State::lists=$apt_dir/lists"
    -o "Dir::State::status=$apt_dir/status"
    -o "Dir::Cache=$apt_dir/cache"
    -o "APT::Sandbox::User=root"
    -o "Acquire::Languages=none"
    -o "APT::Update::Post-Invoke="
    -o "APT::Update::Post-Invoke-Success="
)

echo "get-peers: reading the package lists of $mirror sid" >&2
apt-get "${own_state[@]}" -qq update
(cd "$apt_dir/packages" && rm -f -- *.deb && apt-get "${own_state[@]}" -qq download "${packages[@]}")

rm -rf "$dir/root" "$dir/VERSIONS"
for deb in "$apt_dir"/packages/*.deb; do
    echo "get-peers: unpacking $(basename "$deb")" >&2
    dpkg -x "$deb" "$dir/root"
    dpkg-deb -W --showformat='${Package} ${Version}\n' "$deb" >>"$dir/VERSIONS"
done

# Packages have moved their binary's name before; whichever is there is linked under one name.
link() { # NAME CANDIDATE...
    local name=$1 candidate
    shift
    for candidate in "$@"; do
        if [[ -x $dir/root/usr/bin/$candidate ]]; then
            ln -sfn "root/usr/bin/$candidate" "$dir/$name"
            return
        fi
    done
    echo "get-peers: no $name among $(ls "$dir/root/usr/bin" | paste -sd ' ')" >&2
    exit 1
}
link prometheus prometheus
link victoria-metrics victoria-metrics victoria-metrics-single

"$dir/prometheus" --version >&2
"$dir/victoria-metrics" --version >&2
echo "get-peers: $dir/prometheus and $dir/victoria-metrics are ready" >&2
