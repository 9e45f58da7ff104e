#!/usr/bin/env bash
# Install what start-slurm.sh needs from Debian's (or Ubuntu's) packages; exit code 1 where that is impossible.
set -uo pipefail
PATH=$PATH:/usr/sbin
command -v slurmctld slurmd srun munged >/dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "no root, or no apt-get" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update && apt-get -qq install -y --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
