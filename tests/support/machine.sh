#!/bin/sh
# The first process of a machine that is like this one, and that may be changed: see machine.rs. It is started by unshare, in a mount
# namespace and a pid namespace of its own.
#
#   machine.sh DIR SHARED SOURCES [SYSTEMD]
#
# DIR is an empty folder; SHARED is seen in the machine as it is here; of SOURCES too, which cannot be written.
set -eu
dir=$1 shared=$2 sources=$3 systemd=${4:-}

mount -t tmpfs tmpfs "$dir"
mkdir "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
root=$dir/root

mount -t proc proc "$root/proc"
# Settings of the kernel are the real machine's.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount --bind /sys "$root/sys"
mount -o remount,bind,ro "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mkdir -p "$root$shared" "$root$sources"
mount --bind "$shared" "$root$shared"
mount --bind "$sources" "$root$sources"
mount -o remount,bind,ro "$root$sources"

# Nothing but what a test installs: no unit of this machine is started, no installation of MailStore is seen.
rm -rf "$root/etc/mailstore" "$root/var/lib/mailstore" "$root/usr/local/lib/mailstore"
for lib in "$root/etc/systemd/system" "$root/usr/lib/systemd/system" "$root/usr/local/lib/systemd/system"; do
    rm -rf "$lib"/*.wants "$lib"/*.requires "$lib"/mailstore*
done
rm -rf "$root/usr/lib/systemd/system-generators" "$root/usr/sbin/policy-rc.d"

if [ "$systemd" ]; then
    mkdir "$root/usr/lib/systemd/system/sockets.target.wants"
    ln -s ../systemd-journald.socket "$root/usr/lib/systemd/system/sockets.target.wants/"
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
fi

mkdir "$root/run/old"
cd "$root"
pivot_root . run/old
umount -l /run/old
rmdir /run/old
if [ "$systemd" ]; then
    # It knows by this that what is around it is not its own.
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target --show-status=no --log-target=null
fi
echo ready
# Until the test lets go of the other end.
exec cat
