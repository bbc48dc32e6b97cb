# Made by `xfelflow pack-env` from @PREFIX@. In a batch script:
#
#     source @SCRIPT@ || exit 1
#
# copies the packed environment to every node of the job (sbcast), unpacks it there once and puts it
# first on PATH. A job step `xfelflow-env` waits on every node for the end of the script, or of the
# job, and removes it.
# In a task of a job step, or without Slurm, it unpacks the archive on this machine, once for all who
# ask at the same time; the last of them removes it when it ends.

xfelflow_script=@SCRIPT@
xfelflow_archive=@ARCHIVE@
xfelflow_node_folder="@NODE_FOLDER@"
xfelflow_folder="$xfelflow_node_folder/xfelflow-$UID"
xfelflow_home="$xfelflow_folder/@DIGEST@"

_xfelflow_say() { echo "xfelflow environment on ${SLURMD_NODENAME:-$(uname -n)}: $*" >&2; }

# What follows runs on every node. Each user of a copy, a job or a process, is a file in *.users.

_xfelflow_lock() {
  command -v flock > /dev/null || { _xfelflow_say "no program flock (util-linux)"; return 1; }
  mkdir -p -m 700 "$xfelflow_folder" && [ -O "$xfelflow_folder" ] && exec 9> "$xfelflow_folder/lock" ||
    { _xfelflow_say "cannot write $xfelflow_folder: pack with another --node-folder"; return 1; }
  flock 9
}

_xfelflow_forget() { # LIVE_JOBS: take users that are gone off the lists, and copies without users
  local user users
  for user in "$xfelflow_folder"/*.users/*; do
    case ${user##*/} in
      job.*) [[ "$1" == unknown || " $1 " == *" ${user##*/job.} "* ]] || rm -f "$user" ;;
      process.*) [ -d "/proc/${user##*/process.}" ] || rm -f "$user" ;;
    esac
  done
  for users in "$xfelflow_folder"/*.users; do
    [ -d "$users" ] && [ -z "$(ls -A "$users")" ] || continue
    mv "${users%.users}" "${users%.users}.gone" # Slurm may end this before all is removed
    rmdir "$users"
  done
  rm -rf "$xfelflow_folder"/*.gone
}

_xfelflow_unpack() { # ARCHIVE
  local free said part="$xfelflow_home.part"
  rm -rf "$part"
  free=$(df -Pk "$xfelflow_folder" | awk 'NR == 2 { print $4 }')
  if ((free < @KILOBYTES@)); then
    _xfelflow_say "$xfelflow_node_folder has $((free / 1024)) MB left and the environment" \
      "needs $((@KILOBYTES@ / 1024)): pack with another --node-folder"
    return 1
  fi
  if said=$( (set -o pipefail; mkdir "$part" && @UNPACK@ "$1" | tar -xf - -C "$part") 2>&1); then
    printf 'home = %s\ninclude-system-site-packages = false\n' "$xfelflow_home/@BASE@/bin" > "$part/pyvenv.cfg" &&
      mv "$part" "$xfelflow_home" && return
  fi
  _xfelflow_say "cannot unpack $1: ${said##*$'\n'}"
  rm -rf "$part"
  return 1
}

_xfelflow_enter() { # USER ARCHIVE LIVE_JOBS
  (
    _xfelflow_lock || exit 1
    _xfelflow_forget "$3"
    [ -d "$xfelflow_home" ] || _xfelflow_unpack "$2" || exit 1
    mkdir -p "$xfelflow_home.users" && touch "$xfelflow_home.users/$1"
  )
}

_xfelflow_leave() { # USER
  (
    _xfelflow_lock || exit 1
    rm -f "$xfelflow_home.users/$1"
    _xfelflow_forget unknown
  )
}

_xfelflow_in_use() { ls -l /proc/[0-9]*/exe 2> /dev/null | grep -qF -- "-> $xfelflow_home/"; }

_xfelflow_hold() { # USER ARCHIVE LIVE_JOBS: the step of a node, until Slurm ends it
  local end= said="ready $SLURM_STEP_ID"
  trap '' INT USR1
  trap 'end=killed' TERM
  trap 'end=done' USR2
  _xfelflow_enter "$@" || said=failed
  rm -f "$2"
  echo "$said"
  [ "$said" != failed ] || return 1
  sleep infinity &
  [ "$end" ] || wait
  kill $! 2> /dev/null
  for _ in {1..100}; do # ranks that Slurm has told to end may still be flushing
    [ "$end" = killed ] && _xfelflow_in_use || break
    sleep 0.1
  done
  _xfelflow_leave "$1"
}

# What follows runs where this file is sourced.

_xfelflow_broadcast() {
  local copy said live process ready=0
  copy="$xfelflow_node_folder/xfelflow-$UID-$SLURM_JOB_ID@ENDING@"
  command -v sbcast > /dev/null || { _xfelflow_say "no program sbcast: is this a Slurm job?"; return 1; }
  said=$(sbcast --force "$xfelflow_archive" "$copy" 2>&1) ||
    { _xfelflow_say "cannot copy $xfelflow_archive to $copy on every node: ${said//$'\n'/; }"; return 1; }
  live=$(squeue --noheader --user "$UID" --format %A 2> /dev/null | tr '\n' ' ') || live=
  exec {xfelflow_step}< <(
    exec srun --quiet --overlap --job-name=xfelflow-env --nodes="$SLURM_JOB_NUM_NODES" \
      --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task=1 --mem=0 --input=none \
      bash "$xfelflow_script" hold "job.$SLURM_JOB_ID" "$copy" "${live:-unknown}"
  )
  process=$!
  while ((ready < SLURM_JOB_NUM_NODES)) && read -r -u "$xfelflow_step" said xfelflow_step_id; do
    [ "$said" = ready ] || break
    ready=$((ready + 1))
  done
  ((ready == SLURM_JOB_NUM_NODES)) || { kill $process 2> /dev/null; return 1; }
}

_xfelflow_dismiss() { # the steps that hold the copies remove them; wait until they have
  scancel --signal=USR2 "$SLURM_JOB_ID.$xfelflow_step_id" 2> /dev/null || return
  while read -t 60 -r -u "$xfelflow_step" _; do :; done
}

_xfelflow_activate() {
  local leave
  [ "$VIRTUAL_ENV" = "$xfelflow_home" ] && [ -x "$xfelflow_home/bin/python" ] && return
  [ -r "$xfelflow_archive" ] ||
    { _xfelflow_say "$xfelflow_archive cannot be read: run xfelflow pack-env again"; return 1; }
  # A batch script has no step; an interactive one has a number near 2^32.
  case ${SLURM_JOB_ID:+job}${SLURM_STEP_ID:-} in
    job | job42949672??) _xfelflow_broadcast || return 1; leave=_xfelflow_dismiss ;;
    *)
      _xfelflow_enter "process.$$" "$xfelflow_archive" unknown || return 1
      leave="_xfelflow_leave process.$$"
      ;;
  esac
  eval "set -- $(trap -p EXIT)" # the trap that is there goes first
  trap "${3:+$3; }$leave" EXIT
  export VIRTUAL_ENV="$xfelflow_home" PATH="$xfelflow_home/bin:$PATH"
  # No modules from shared folders: neither those of PYTHONPATH nor of the current folder.
  export PYTHONSAFEPATH=1
  unset PYTHONHOME PYTHONPATH
}

if [ "${BASH_SOURCE[0]}" != "$0" ]; then
  _xfelflow_activate
elif [ "$1" = hold ]; then
  _xfelflow_hold "${@:2}"
else
  echo "use it in a batch script: source $0" >&2
  exit 2
fi
