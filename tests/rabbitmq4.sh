#!/bin/bash
# RabbitMQ 4 of Debian 13, in the folder DIR and nowhere else: `DIR/rabbitmq-server` is for PERO_WORKER_RABBITMQ.
# Needs root, for debootstrap and chroot.
set -euo pipefail

dir=$(realpath -m "${1:?name a folder}")
[[ ! -x $dir/rabbitmq-server ]] || exit 0
"$(dirname "$0")/../scripts/apt-install.sh" debootstrap
if [[ ! -x $dir/debian/usr/lib/rabbitmq/bin/rabbitmq-server ]]; then
    debootstrap --variant=minbase --include=rabbitmq-server trixie "$dir/debian" >/dev/null
fi
# In mounts of its own, which end with it, the server sees the folder that tests work in.
cat >"$dir/rabbitmq-server" <<END
#!/bin/bash
exec unshare --mount bash -c '
    for place in /proc /dev "\${TMPDIR:-/tmp}"; do mount --rbind "\$place" "$dir/debian\$place"; done
    exec chroot "$dir/debian" /usr/lib/rabbitmq/bin/rabbitmq-server'
END
chmod +x "$dir/rabbitmq-server"
