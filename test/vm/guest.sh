# First process in the host's files, as the virtual machine sees them: mounts what a node has, runs /mnt/command, leaves its status
# in /mnt/status. /mnt is the one directory that is shared for writing.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=0755 run /run
mkdir -p /run/lock /run/netns
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
. /mnt/settings
mkdir -p /lib/modules
mount --bind "$modules" /lib/modules
ln -sfn /proc/self/fd /dev/fd
ulimit -n 1048576
ip link set lo up
sysctl -q -w kernel.panic=-1 kernel.printk="4 4 1 4" >/dev/null
# A session with its terminal, so that what runs here can be told from the first process, and its output is a stream of bytes.
setsid sh /mnt/command </dev/null >/dev/ttyS1 2>&1
echo $? >/mnt/status.new
mv /mnt/status.new /mnt/status
sync
echo b >/proc/sysrq-trigger
while :; do sleep 1; done
