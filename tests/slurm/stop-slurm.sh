#!/usr/bin/env bash
# End the Slurm of start-slurm.sh with its jobs, and nothing else.
set -uo pipefail
ROOT=$(cd "${1:?usage: stop-slurm.sh FOLDER}" && pwd)
export SLURM_CONF=$ROOT/slurm.conf
timeout 10 scancel --user="$(id -un)" 2>/dev/null
for _ in $(seq 100); do [ -z "$(timeout 5 squeue -h 2>/dev/null)" ] && break; sleep 0.1; done

end() { # end NAME: by its pid file, if the process is that daemon; TERM, and KILL after 15 s
  local pid
  pid=$(cat "$ROOT/run/$1.pid" 2>/dev/null) || return 0
  [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] || return 0
  for signal in TERM KILL; do
    kill -$signal "$pid" 2>/dev/null
    for _ in $(seq 150); do
      [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] || { rm -f "$ROOT/run/$1.pid"; return 0; }
      sleep 0.1
    done
  done
}
end slurmd
end slurmctld
end munged
