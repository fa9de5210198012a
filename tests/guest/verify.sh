# Second boot: all is there on another server. Then more is written and synced, and the machine is
# switched off without unmounting, as by the pull of its plug.
. /steps.sh

check
mount_all
compare 1 2 3
copy 5
sync
say "done"
