# shellcheck shell=sh disable=SC2154 # What is not assigned here is given by scripts/install.
# Part of scripts/install: the program, and everything as it will lie on the machine, below $tree.
#
# It is given, of scripts/install: $here (the sources), $binary, $prefix, $lib, $doc, $etc, $state, $ini, $units, $name, $alone, $backup,
# $backup_place, $stage, $dry, $is_root.

# What an administrator uses; what is for developers stays in the sources.
tools="check dovecot-archive archive-user restore export import backup verify report"

# The program to install: the one named, or the release build, made where there is none that is newer than the sources.
find_binary() {
    if [ -z "$binary" ]; then
        binary=${CARGO_TARGET_DIR:-$here/target}/release/start_proxies
        if [ ! -x "$binary" ] || [ -n "$(find "$here/src" "$here/Cargo.toml" "$here/Cargo.lock" -newer "$binary" 2>/dev/null | head -n 1)" ]; then
            if [ "$dry" ]; then
                say "built $binary"
                return
            fi
            build
        fi
    fi
    version=$("$binary" --version 2>&1) || die "$binary does not run here: $version"
    case $version in
        "start_proxies (MailStore) "*) ;;
        *) die "$binary is not start_proxies: it says $version" ;;
    esac
}

# By whom the sources belong to: what sudo builds as root, its owner could not build again.
build() {
    echo "building $binary (this takes a few minutes the first time)"
    builder=$(stat -c %U "$here")
    # shellcheck disable=SC2016 # For the inner shell.
    set -- sh -c 'export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
        command -v cargo >/dev/null || exit 127
        cd "$1" && exec cargo build --release --locked --quiet --bin start_proxies' sh "$here"
    if [ "$is_root" ] && [ "$builder" != root ] && [ "$builder" != UNKNOWN ] && command -v runuser >/dev/null; then
        set -- runuser -u "$builder" -- env HOME="$(getent passwd "$builder" | cut -d : -f 6)" "$@"
    fi
    status=0
    "$@" || status=$?
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/Cargo.toml")
    [ $status != 127 ] || die "cargo is missing: install Rust $wanted or newer, for instance as https://rustup.rs says, or name a built program with --binary FILE"
    [ $status = 0 ] || die "the build failed: see above (it needs Rust $wanted or newer, a C compiler, pkg-config and the headers of OpenSSL)"
}

# Everything as it will lie, below $tree, with paths, modes and texts for this machine.
gather() {
    [ ! -x "$binary" ] || stage_file 755 "$binary" "$prefix/bin/start_proxies"
    for tool in $tools; do
        [ -f "$here/scripts/$tool" ] || continue
        stage_file 755 "$here/scripts/$tool" "$lib/$tool"
        ln -s "../lib/mailstore/$tool" "$tree$prefix/bin/mailstore-$tool"
    done
    stage_below "$here/scripts/lib" "$lib/lib"
    stage_below "$here/docs" "$doc/docs"
    # What they say of where the tools are.
    find "$tree$doc/docs" -type f -exec sed -i "s|/usr/local/bin/mailstore-|$prefix/bin/mailstore-|g" {} +
    for page in README.md SECURITY.md CHANGELOG.md; do
        stage_file 644 "$here/$page" "$doc/$page"
    done
    if [ "$alone" ]; then
        stage_unit mailstore-user.service mailstore.service
    else
        stage_unit mailstore.service mailstore.service
    fi
    for unit in mailstore-backup.service mailstore-backup.timer; do
        [ ! -f "$here/docs/$unit" ] || stage_unit "$unit" "$unit"
    done
    # Of one that is made for root a user's own manager can have no more than this.
    unit=$tree$units/mailstore-backup.service
    if [ "$alone" ] && [ -f "$unit" ]; then
        grep -E '^(\[.*|Description=.*|Type=.*|ExecStart=.*|Nice=.*|IOSchedulingClass=.*|UMask=.*)$' "$unit" >"$unit.own"
        mv "$unit.own" "$unit"
    fi
    [ -z "$backup" ] || stage_backup
    [ ! -f "$here/docs/letsencrypt-hook" ] || stage_file 755 "$here/docs/letsencrypt-hook" "$lib/letsencrypt-hook"
    make_ini >"$stage/mailstore.ini"
}

stage_file() { # MODE FILE PLACE
    mkdir -p "$tree$(dirname "$3")"
    cp "$2" "$tree$3"
    chmod "$1" "$tree$3"
}

# The files below a folder that have a place of their own are left out.
stage_below() { # FOLDER PLACE
    (cd "$1" && find . -type f ! -path '*/__pycache__/*' ! -name '*.service' ! -name '*.timer' ! -name letsencrypt-hook) | sort >"$stage/list"
    while IFS= read -r file; do
        mode=644
        [ ! -x "$1/$file" ] || mode=755
        stage_file $mode "$1/$file" "$2/${file#./}"
    done <"$stage/list"
}

stage_unit() { # FILE NAME
    mkdir -p "$tree$units"
    sed -e "s|/usr/local/bin/|$prefix/bin/|g" -e "s|/usr/local/share/|$prefix/share/|g" -e "s|/usr/local/lib/|$prefix/lib/|g" \
        -e "s|/etc/mailstore/|$etc/|g" -e "s|^User=mailstore\$|User=$name|" -e "s|^Group=mailstore\$|Group=$name|" "$here/docs/$1" >"$tree$units/$2"
}

# mailstore.ini for this layout. A line that is not as it was known here is a fault of the sources.
make_ini() {
    spool=$state/mailSpool user=$name etc=$etc ini=$ini awk '
        BEGIN { e = ENVIRON["etc"] }
        /^#spool = mailSpool$/ { print "spool = " ENVIRON["spool"]; found++; next }
        /^#user =$/ && ENVIRON["user"] { print "user = " ENVIRON["user"]; found++; next }
        /^#user =$/ { print; found++; next }
        /^upstream = / { print "#" $0; found++; next }
        /^# As it stands here, one POP3 proxy listens on this machine only\. Change its upstream/ {
            sub(/Change its upstream/, "Name its upstream"); print; found++; next
        }
        /^#(certificate|upstream_ca) = [a-z]/ || /^#private_key = [a-z]/ {
            sub(/= fullchain\.pem/, "= " e "/cert.pem"); sub(/= privkey\.pem/, "= " e "/key.pem"); sub(/= authority\.pem/, "= " e "/authority.pem")
        }
        { print }
        END { if (found != 4) { print "mailstore.ini is not what this script knows: " found " lines of 4" > "/dev/stderr"; exit 1 } }
    ' "$here/mailstore.ini" || die "mailstore.ini of the sources cannot be made fit"
}

# Where the backup goes to: a drop-in of its unit, or without systemd a line for cron.
stage_backup() {
    [ -f "$here/docs/mailstore-backup.service" ] || die "these sources have no unit for the backup"
    mkdir -p "$tree$(dirname "$backup_place")"
    command="$prefix/bin/mailstore-backup -c $ini --no-init $backup"
    {
        echo "# Made by scripts/install --backup."
        case $backup_place in
            */cron.d/*) echo "30 2 * * *  root  $command" ;;
            *)
                # It need not be there yet: without a folder that was prepared the backup says so.
                [ "$alone" ] || printf '[Unit]\nRequiresMountsFor=%s\n\n' "$backup"
                printf '[Service]\nExecStart=\nExecStart=%s\n' "$command"
                [ "$alone" ] || printf 'ReadWritePaths=-%s\n' "$backup"
                ;;
        esac
    } >"$tree$backup_place"
}
