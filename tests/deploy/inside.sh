# What test_booted.py does on the booted machine. Each fact goes into a file of /results; the last is `done`.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
set -x
touch /results/booted
cd /opt/brainstem || exit 1
deploy/install.sh --redis /usr/local/bin/brainstem-test-redis || exit 1
for name in api_key api_secret; do
  install -m 0600 "/results/$name" "/etc/brainstem/credentials/gateway/main.$name"
done
cp /results/config.json /etc/brainstem/config.json
systemd-tmpfiles --create /etc/tmpfiles.d/brainstem.conf
mkdir -p /etc/systemd/system/brainstem-gateway@.service.d
printf '[Service]\nWatchdogSec=10\n' >/etc/systemd/system/brainstem-gateway@.service.d/quick.conf
systemctl daemon-reload

fact() { "${@:2}" >"/results/$1.new" 2>&1 && mv "/results/$1.new" "/results/$1"; }
main_pid() { systemctl show -P MainPID "$1"; }

systemctl enable brainstem.target brainstem-redis brainstem-gateway@main brainstem-brain@random-BTCUSDT
systemctl start brainstem.target
# the target wants them all; each start returns once it is ready
systemctl start brainstem-redis brainstem-gateway@main brainstem-brain@random-BTCUSDT
fact states systemctl is-active brainstem.target brainstem-redis brainstem-gateway@main brainstem-brain@random-BTCUSDT
touch /results/started
until [ -e /results/traded ]; do sleep 0.2; done
systemctl start brainstem-doctor@main
fact doctor_code systemctl show -P ExecMainStatus brainstem-doctor@main
fact doctor journalctl -u brainstem-doctor@main -o cat --no-pager
brain=$(main_pid brainstem-brain@random-BTCUSDT)
fact brain_status cat "/proc/$brain/status"
fact brain_net cat "/proc/$brain/net/dev"
fact gateway_status cat "/proc/$(main_pid brainstem-gateway@main)/status"
fact brain_text systemctl show -P StatusText brainstem-brain@random-BTCUSDT
# what a shell of the brain's user, in the brain's own sandbox, can see of the gateway
gateway=$(main_pid brainstem-gateway@main)
fact brain_sees nsenter -t "$brain" -m -n setpriv --reuid brainstem-brain --regid brainstem --clear-groups bash -c "
  cat /proc/$gateway/environ /run/credentials/brainstem-gateway@main.service/* /var/lib/brainstem-gateway/* \
    /etc/brainstem/credentials/*/* 2>&1; ls /proc | grep -c '^[0-9]'; true"
kill -STOP "$gateway"
until [ "$(systemctl show -P NRestarts brainstem-gateway@main)" = 1 ]; do sleep 0.2; done
until [ "$(systemctl is-active brainstem-gateway@main)" = active ]; do sleep 0.2; done
fact again systemctl show -P StatusText brainstem-gateway@main
fact gateway_log journalctl -u brainstem-gateway@main -o cat --no-pager
systemctl stop brainstem.target
until [ "$(systemctl is-active brainstem-redis)" = inactive ]; do sleep 0.2; done
fact ended systemctl show -P Result brainstem-redis brainstem-gateway@main brainstem-brain@random-BTCUSDT
fact stop_log journalctl -o short-unix --no-pager -u brainstem-redis -u brainstem-gateway@main -u brainstem-brain@random-BTCUSDT _PID=1
touch /results/done
