# A machine of its own for test_booted.py: systemd as process 1 in fresh namespaces, on an overlay of this machine's
# files that vanishes with it. Run by root through `unshare --mount --pid --fork --uts --ipc --cgroup`; it shares the
# network, and cannot write what is shared otherwise: /sys and /proc/sys are read-only, /dev is a handful of its own.
#
#   boot.sh FOLDER ROOT PREFIX BASE SITE REDIS    FOLDER holds what inside.sh leaves; interpreter, packages and checkout
#                                                 are shown where the units can see them: /opt/python, /opt/brainstem
set -e
folder=$1 root=$2 python=$3 base=$4 site=$5 redis=$6
mount --make-rprivate /
mkdir -p "$folder/layer" "$folder/new"
mount -t tmpfs -o mode=755 none "$folder/layer"
mkdir "$folder/layer/up" "$folder/layer/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/layer/up,workdir=$folder/layer/work" "$folder/new"
cd "$folder/new"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=1777 none tmp
mount -t tmpfs -o mode=755 none dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for node in null zero full random urandom tty; do
  touch "dev/$node"
  mount --bind "/dev/$node" "dev/$node"
done
# nothing of this machine's own starts: neither what is enabled, nor what sets up kernel and devices
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires lib/systemd/system/sysinit.target.wants \
  lib/systemd/system/multi-user.target.wants etc/systemd/system/brainstem* etc/brainstem
mkdir -p old results opt/python opt/site opt/brainstem/.venv/bin "opt/brainstem/.venv/lib/$python/site-packages"
mount --bind "$folder/results" results
mount --bind "$base" opt/python
mount --bind "$site" opt/site
for room in ipc rules gateway brain scripts deploy docs requirements.lock; do
  cp -a "$root/$room" opt/brainstem/
done
cp "$redis" usr/local/bin/brainstem-test-redis
echo /opt/python/lib >etc/ld.so.conf.d/000-brainstem-test.conf # an interpreter may bring its library
chroot . ldconfig
cd opt/brainstem/.venv
printf 'home = /opt/python/bin\n' >pyvenv.cfg
ln -s "/opt/python/bin/$python" bin/python
printf '/opt/brainstem\n/opt/site\n' >"lib/$python/site-packages/shown.pth"
for name in gateway brain brainstem; do
  printf '#!/opt/brainstem/.venv/bin/python\nimport sys\nfrom scripts.%s import main\nsys.exit(main())\n' "$name" >"bin/$name"
  chmod 755 "bin/$name"
done
cd "$folder/new"
cat >etc/systemd/system/inside.service <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/bash /results/inside.sh
StandardOutput=file:/results/inside.log
StandardError=file:/results/inside.log
UNIT
cat >etc/systemd/system/inside.target <<'UNIT'
[Unit]
Wants=inside.service systemd-journald.service
AllowIsolate=yes
UNIT
pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=inside.target
