#!/usr/bin/env bash
# Start a one-node Slurm in a folder of its own, for the tests and for trying launchers; as root.
#   tests/slurm/start-slurm.sh FOLDER && export SLURM_CONF=FOLDER/slurm.conf && sinfo
#   tests/slurm/stop-slurm.sh FOLDER
# Its packages: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
# Others must be able to enter the folder, or munged refuses it.
# Settings: SLURM_CPUS (those of the machine), SLURM_MEM in MB (8000), SLURM_PORT (the first of two).
set -euo pipefail
HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
ROOT=$(mkdir -p "${1:?usage: start-slurm.sh FOLDER}" && cd "$1" && pwd)
PATH=$PATH:/usr/sbin:/sbin
export SLURM_CONF=$ROOT/slurm.conf
PORT=${SLURM_PORT:-16917}
for command in munged slurmctld slurmd srun sbatch scontrol; do
  command -v $command >/dev/null || { echo "start-slurm: $command is not installed" >&2; exit 3; }
done

mkdir -p "$ROOT"/{state,spool,log,run,key}
chmod 755 "$ROOT/run" "$ROOT/log"
chmod 700 "$ROOT/key" "$ROOT/state"
[ -s "$ROOT/key/munge.key" ] || (umask 077; head -c 128 /dev/urandom > "$ROOT/key/munge.key")
# From the clock: submitit takes a result that an older job of the same number left for its own.
sed -e "s|@ROOT@|$ROOT|g" -e "s|@USER@|$(id -un)|g" -e "s|@CPUS@|${SLURM_CPUS:-$(nproc)}|g" \
    -e "s|@MEM@|${SLURM_MEM:-8000}|g" -e "s|@PORT0@|$PORT|g" -e "s|@PORT1@|$((PORT + 1))|g" \
    -e "s|@FIRSTJOBID@|$(( $(date +%s) % 60000000 + 1 ))|g" "$HERE/slurm.conf.in" > "$SLURM_CONF"

# Each goes into the background by itself.
munged --key-file="$ROOT/key/munge.key" --socket="$ROOT/run/munge.socket" --num-threads=2 \
       --pid-file="$ROOT/run/munged.pid" --log-file="$ROOT/log/munged.log" --seed-file="$ROOT/run/seed"
slurmctld
for _ in $(seq 100); do scontrol ping 2>/dev/null | grep -q 'is UP' && break; sleep 0.1; done
slurmd
for _ in $(seq 100); do
  case $(sinfo -h -N -o %T 2>/dev/null | head -1) in idle|mixed|allocated) break ;; esac
  sleep 0.1
done
timeout 60 srun --ntasks=1 --mem=1 --time=1 true || { tail -n 20 "$ROOT"/log/*.log >&2; exit 1; }
echo "export SLURM_CONF=$SLURM_CONF"
