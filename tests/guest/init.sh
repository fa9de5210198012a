#!/bin/busybox sh
# The guest's first process: makes the disks visible, runs the script that the kernel's command line
# names, prints one verdict, and switches the machine off.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
exec </dev/console >/dev/console 2>&1

script=$(sed 's/.*krait\.script=\([a-z]*\).*/\1/' /proc/cmdline)
for module in /modules/*.ko; do
    insmod "$module" || echo "$module was not loaded"
done

if sh -eu "/$script"; then
    echo "krait-guest: $script passed"
else
    echo "krait-guest: $script failed"
    dmesg | tail -n 40
fi
poweroff -f -n
