# One boot through which the server is restarted, and then replaced, while both file systems are
# written to: nobody in the guest notices more than a pause.
. /steps.sh

say "make ext4 and xfs"
mkfs.ext4 -q /dev/vda
mkfs.xfs -q /dev/vdb
mount_all
copy 1

# Writes and syncs until it is told to stop, and ends badly at the first error.
keep_writing() {
    until test -e /stop; do
        for disk in /ext4 /xfs; do
            rm -rf $disk/9
            mkdir $disk/9
            cp /payload/* $disk/9/
            sync
        done
    done
}

# Asks the host for something, and waits until it is done.
ask() {
    say "the host is to $1"
    echo "krait-host: $1"
    read -r answer
    test "$answer" = "done"
}

keep_writing &
writer=$!
# Copies in shells of their own, which wait for no more than what they began.
ask restart
(copy 2)
ask replace
(copy 3)
touch /stop
wait $writer
sync
compare 1 2 3 9
unmount_all
check
mount_all
compare 1 2 3 9
unmount_all
if dmesg | grep -i -E 'i/o error|remount|shut ?down'; then
    say "the kernel saw errors"
    false
fi
say "done"
