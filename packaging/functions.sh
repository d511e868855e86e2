#!/bin/sh
# What the scripts of both packages have in common: hack/package puts this file before each of them. Nothing here starts
# a pool, restarts an engine or ends a container, and nothing that fails here leaves a package half installed.
set -e
say() { echo "sharedroot: $*"; }

start_timer() {   # not what it starts
  [ -d /run/systemd/system ] && systemctl --quiet is-enabled sharedroot-gc.timer || return 0
  systemctl start sharedroot-gc.timer || true
}

# At an upgrade, if it runs. Its socket stays, so that no call is lost.
restart_snapshotter() {
  [ ! -d /run/systemd/system ] || systemctl try-restart sharedrootd.service || true
}

reload() {
  [ ! -d /run/systemd/system ] || systemctl daemon-reload || true
  [ ! -S /run/udev/control ] || udevadm control --reload || true
}

selinux_on() { command -v selinuxenabled >/dev/null && selinuxenabled; }

# No test for them before: where the module is gone this script may not look at the pool's files; restorecon may.
relabel() {
  restorecon -RFi /usr/bin/sharedroot /usr/bin/containerd-shim-sharedroot-v2 /var/lib/sharedroot /run/sharedroot || true
}

# Priority 200 is the packages': a module that an administrator has loaded by `make install` (400) stands above it.
load_policy() {
  selinux_on || return 0
  policy=debian
  ! grep -qs container_runtime_exec_t /etc/selinux/*/contexts/files/file_contexts || policy=container-selinux
  dir=/usr/share/sharedroot/selinux
  semodule -X 200 -i $dir/$policy/sharedroot.cil -i $dir/sharedroot_package.cil ||
    say "the SELinux modules were not loaded: see above, then configure the package again"
  relabel
}

unload_policy() {
  selinux_on && semodule -lfull | grep -q '^200 *sharedroot ' || return 0
  semodule -X 200 -r sharedroot_package -r sharedroot || say "semodule -X 200 -r sharedroot failed: see above"
  relabel
}

greet() {
  say "next: 'sharedroot install docker' tells Docker of it, 'sharedroot doctor' looks at this host."
  say "Once there is a pool: systemctl enable --now sharedroot-pool.service"
}

# The directories of container records are named after the containers.
containers() {
  for record in /run/sharedroot/containers/*/*/record.json; do
    [ ! -e "$record" ] || { record=${record%/record.json}; echo "container ${record##*/}"; }
  done
}

users() {
  containers
  grep -lse /usr/bin/sharedroot -e io.containerd.sharedroot.v2 -e /run/sharedroot/snapshotter.sock -e '"storage-driver": *"sharedroot"' \
    /etc/docker/daemon.json /etc/containerd/config.toml /etc/containers/containers.conf \
    /etc/containers/containers.conf.d/*.conf || true
}

# Before the program goes. A pool that nobody uses is deactivated: later nothing could unmount its bases.
leave() {
  users=$(users)
  [ -z "$users" ] || {
    say "it is still used by:"; echo "$users" | sed 's/^/  /'
    say "Running containers go on, but nothing can stop or delete them until it is installed again."
  }
  [ ! -d /run/systemd/system ] || systemctl stop sharedroot-gc.timer sharedrootd.socket sharedrootd.service || true
  [ -z "$(containers)" ] || return 0
  [ ! -d /run/systemd/system ] || systemctl stop sharedroot-pool.service || true
  case $(/usr/bin/sharedroot pool status 2>/dev/null || true) in
    '' | *'(inactive)'*) ;;
    *) /usr/bin/sharedroot pool deactivate || true ;;
  esac
}

# When the program, its configuration and its units are gone, for good.
forget() {
  rm -f /var/lib/systemd/timers/stamp-sharedroot-gc.timer
  if [ -n "$(containers)" ]; then
    say "/run/sharedroot is left, for the containers that are still there"
  else
    rm -rf --one-file-system /run/sharedroot || true
  fi
  rmdir /var/lib/sharedroot 2>/dev/null || true
  files=$(find /var/lib/sharedroot -type f 2>/dev/null || true)
  [ -z "$files" ] || {
    say "the pool's files are left:"; echo "$files" | sed 's/^/  /'
    say "To remove them, install it again, 'sharedroot pool destroy --force', and purge it."
    say "Where the pool was on loop files, or is destroyed already: rm -r /var/lib/sharedroot"
  }
  unload_policy                                   # last: it lets this script see those files
}
