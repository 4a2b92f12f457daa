# shellcheck shell=sh disable=SC2154 # What is not assigned here is given by scripts/install.
# Part of scripts/install: the way back.

remove() {
    [ -f "$manifest" ] || die "nothing that this script installed is below $dest$prefix: there is no $manifest"
    lock
    cp "$manifest" "$stage/old"
    [ -n "$dest" ] || stop_units
    while read -r kind hash path; do
        case $kind in f | l) remove_one "$kind" "$hash" "$path" ;; esac
    done <"$stage/old"
    [ "$alone" ] || remove_drop_in
    [ -n "$dry" ] || rm -f "$manifest"
    sed -n 's/^d - //p' "$stage/old" | sort -r | while IFS= read -r folder; do
        [ -n "$dry" ] || [ ! -d "$dest$folder" ] || rmdir "$dest$folder" 2>/dev/null || echo "left $dest$folder: there is something in it that this script did not make"
    done
    tell_systemd
    say "removed MailStore below $dest$prefix"
    echo
    echo "The mail and the configuration stay. These would remove them too, for good:"
    echo "  rm -r $dest$etc $dest$state     (and the spool, where mailstore.ini names another place)"
    [ -n "$dest$alone" ] || echo "  userdel $name"
}

# Also without a systemd that runs: the links that start them with the machine are there all the same.
stop_units() {
    command -v systemctl >/dev/null || return 0
    for unit in mailstore-backup.timer mailstore.service; do
        grep -qF " $units/$unit" "$stage/old" || continue
        if $systemctl is-active --quiet $unit 2>/dev/null || $systemctl is-enabled --quiet $unit 2>/dev/null; then
            say "stopped and disabled $unit (open sessions may finish within shutdown_grace)"
            [ "$dry" ] || $systemctl disable ${live:+--now} --quiet $unit
        fi
    done
}

# What mailstore-check made goes, unless it was changed since.
remove_drop_in() {
    at=$dest/etc/systemd/system/mailstore.service.d/spool.conf
    [ -f "$at" ] || return 0
    if [ "$(sed -n '1s/.*: //p' "$at")" = "$(tail -n +2 "$at" | sha256sum | cut -d ' ' -f 1)" ]; then
        say "removed $at"
        [ -z "$dry" ] || return 0
        rm -f "$at"
        rmdir "$(dirname "$at")" 2>/dev/null || true
    else
        say "left $at: it was not made by mailstore-check, or changed since"
    fi
}
