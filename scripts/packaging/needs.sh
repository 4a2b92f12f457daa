# shellcheck shell=bash
# Debian packages that are missing are installed, and nothing of them is started, enabled or left listening. For scripts/test and scripts/bench.
#
# It is given: $script (whose words these are) and $needs, an array: the Debian package, and behind a | a command that succeeds where it is there.

policy=/usr/sbin/policy-rc.d
saved=$policy.before-mailstore-test
mark="mailstore scripts/test put this here for a moment"

die() {
    echo "$script: $*" >&2
    exit 1
}

# The packages that are not there, one a line.
missing() {
    local need
    for need in "${needs[@]}"; do
        bash -c "${need#*|}" >/dev/null 2>&1 || echo "${need%%|*}"
    done
}

install_missing() {
    local packages
    mapfile -t packages < <(missing)
    ((${#packages[@]})) || return 0
    echo "$script: missing here: ${packages[*]}"
    command -v apt-get >/dev/null || die "this system has no apt: install what these Debian packages hold, then run again"
    [[ $(id -u) == 0 ]] || die "installing needs root: run as root once '$script --install', or: apt-get install --no-install-recommends ${packages[*]}"

    local before links running
    before=$(mktemp) && links=$(mktemp) && running=$(mktemp)
    dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sort >"$before"
    enabled_links >"$links"
    printf '%s\n' /proc/[0-9]* >"$running"

    forbid_services
    trap allow_services EXIT
    trap 'exit 1' INT TERM HUP
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    # Without an answer Postfix's package would write itself a configuration for this host.
    apt-get -q -y install --no-install-recommends debconf >/dev/null
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    apt-get -q -y -o Dpkg::Options::=--force-confold install --no-install-recommends "${packages[@]}"
    trap - EXIT INT TERM HUP
    allow_services

    disable_new "$links"
    verify_nothing_runs "$before" "$running"
    rm -f "$before" "$links" "$running"
    mapfile -t packages < <(missing)
    ((${#packages[@]} == 0)) || die "still missing after the installation: ${packages[*]}"
}

# Debian's own switch (invoke-rc.d asks it): 101 forbids to start any service.
forbid_services() {
    # Left over by a run that was killed: what lay there before comes back first.
    ! grep -qs "$mark" "$policy" || allow_services
    [[ ! -e $policy ]] || mv "$policy" "$saved"
    printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy.new"
    chmod 755 "$policy.new"
    mv "$policy.new" "$policy"
}

allow_services() {
    rm -f "$policy"
    [[ ! -e $saved ]] || mv "$saved" "$policy"
}

# The links that make services start with the system.
enabled_links() {
    find /etc/systemd/system /etc/rc?.d -type l ! -name 'K*' 2>/dev/null | sort || true
}

# What the new packages enabled is disabled again; what was enabled before stays.
disable_new() {
    local link name
    for link in $(enabled_links | comm -13 "$1" -); do
        name=$(basename "$link")
        if [[ $link == /etc/rc?.d/S* ]]; then
            update-rc.d "${name:3}" disable >/dev/null 2>&1 || true
        elif command -v systemctl >/dev/null; then
            systemctl disable "$name" >/dev/null 2>&1 || true
        fi
    done
    for link in $(enabled_links | comm -13 "$1" -); do
        rm -f "$link"
    done
}

# No program of a package that was not there before runs now that did not before: then none of them listens either.
verify_nothing_runs() {
    local files pid exe
    files=$(mktemp)
    dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sort | comm -13 "$1" - | sed 's/^...//' |
        xargs -r dpkg-query -L | sort -u >"$files"
    for pid in /proc/[0-9]*; do
        ! grep -qxF "$pid" "$2" || continue
        exe=$(readlink "$pid/exe" 2>/dev/null) || continue
        if grep -qxF -- "${exe% (deleted)}" "$files"; then
            rm -f "$files"
            die "$exe was started by the installation (process ${pid#/proc/}): stop it, then run again"
        fi
    done
    rm -f "$files"
    echo "$script: installed; nothing of it is started, enabled or listening"
}
