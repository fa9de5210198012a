# Steps of the scripts that the guest runs. The disks are vda with ext4 and vdb with xfs.

say() {
    echo "$(cut -d' ' -f1 /proc/uptime) $*"
}

mount_all() {
    mount -t ext4 /dev/vda /ext4
    mount -t xfs /dev/vdb /xfs
}

unmount_all() {
    umount /ext4
    umount /xfs
}

# Writes copies of the payload to both file systems at once.
copy() {
    say "copies $*"
    for number in "$@"; do
        for disk in /ext4 /xfs; do
            (mkdir "$disk/$number" && cp /payload/* "$disk/$number/") &
        done
    done
    wait
}

# Compares copies of the payload with their checksums, and sees that there are no others.
compare() {
    say "compare $*"
    for disk in /ext4 /xfs; do
        test "$(cd $disk && echo [0-9]*)" = "$*"
        for number in "$@"; do
            (cd "$disk/$number" && sha256sum -c -s /payload.sha256)
        done
    done
}

# Has both file systems checked, which must not be mounted. Errors, even those that could be
# repaired, fail.
check() {
    say "check"
    e2fsck -f -n /dev/vda
    xfs_repair -n /dev/vdb >/tmp.xfs 2>&1 || { cat /tmp.xfs; false; }
}
