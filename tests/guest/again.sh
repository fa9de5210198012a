# Third boot: the machine lost its power and the server was killed, both after a sync.
. /steps.sh

mount_all
compare 1 2 3 5
unmount_all
check
say "done"
