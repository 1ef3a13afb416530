#!/bin/bash
# RabbitMQ 4 of Debian 13, in the folder DIR and nowhere else: `DIR/rabbitmq-server` is for PERO_WORKER_RABBITMQ.
# Needs root, for debootstrap and chroot.
set -euo pipefail

dir=$(realpath -m "${1:?name a folder}")
bin=/usr/lib/rabbitmq/bin
if [[ ! -x $dir/debian$bin/rabbitmq-server ]]; then
    "$(dirname "$0")/../scripts/apt-install.sh" debootstrap
    debootstrap --variant=minbase --include=rabbitmq-server trixie "$dir/debian" >/dev/null
fi
for program in rabbitmq-server rabbitmqctl; do
    # In mounts of its own, which end with it, the program sees the folder that tests work in.
    cat >"$dir/$program" <<END
#!/bin/bash
exec unshare --mount bash -c '
    for place in /proc /dev "\${TMPDIR:-/tmp}"; do mount --rbind "\$place" "$dir/debian\$place"; done
    exec chroot "$dir/debian" $bin/$program "\$@"' $program "\$@"
END
    chmod +x "$dir/$program"
done
