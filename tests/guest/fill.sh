# First boot, empty disks.
. /steps.sh

say "make ext4"
mkfs.ext4 -q /dev/vda
say "make xfs"
mkfs.xfs -q /dev/vdb
say mount
mount_all
copy 1 2 3 4
sync
unmount_all
check

mount_all
compare 1 2 3 4
say "trim"
rm -r /ext4/4 /xfs/4
sync
fstrim -v /ext4
fstrim -v /xfs
compare 1 2 3
unmount_all
check
say "done"
