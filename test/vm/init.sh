#!/bin/busybox sh
# First process of the initramfs: the host's files, read-only, with a file system in memory over them; then guest.sh in it.
/bin/busybox --install -s /bin
mount -t proc proc /proc
for module in /modules/*; do
  insmod "$module" || echo "insmod $module failed"
done
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host || exec reboot -f
mount -t tmpfs -o size=75% memory /memory
mkdir /memory/files /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/files,workdir=/memory/work overlay /new || exec reboot -f
mount -t 9p -o rw,trans=virtio,version=9p2000.L,msize=512000,cache=none share /new/mnt || exec reboot -f
exec switch_root /new /bin/sh /mnt/guest.sh
