# Made by `xfelflow pack-env` from @PREFIX@. In a batch script:
#
#     source @SCRIPT@ || exit 1
#
# copies the packed environment to every node of the job (sbcast), unpacks it there once and puts it
# first on PATH; it is removed when the script ends. In a task of a job step, or without Slurm, it
# unpacks the archive on this machine, once for all who ask at the same time.
# A script with a trap of its own for EXIT calls xfelflow_leave in it.

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
    rmdir "$users" 2> /dev/null && rm -rf "${users%.users}"
  done
  return 0
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

# What follows runs where this file is sourced.

_xfelflow_on_all_nodes() {
  srun --quiet --overlap --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
    --ntasks-per-node=1 --cpus-per-task=1 --mem=0 --input=none --kill-on-bad-exit=0 \
    bash "$xfelflow_script" "$@"
}

_xfelflow_broadcast() {
  local copy said live
  copy="$xfelflow_node_folder/xfelflow-$UID-$SLURM_JOB_ID@ENDING@"
  command -v sbcast > /dev/null || { _xfelflow_say "no program sbcast: is this a Slurm job?"; return 1; }
  said=$(sbcast --force "$xfelflow_archive" "$copy" 2>&1) ||
    { _xfelflow_say "cannot copy $xfelflow_archive to $copy on every node: ${said//$'\n'/; }"; return 1; }
  live=$(squeue --noheader --user "$UID" --format %A 2> /dev/null | tr '\n' ' ') || live=
  _xfelflow_on_all_nodes enter "job.$SLURM_JOB_ID" "$copy" "${live:-unknown}"
}

xfelflow_leave() {
  if [ "$xfelflow_user" = "job.$SLURM_JOB_ID" ]; then
    _xfelflow_on_all_nodes leave "$xfelflow_user"
  else
    _xfelflow_leave "$xfelflow_user"
  fi
}

_xfelflow_activate() {
  [ "$VIRTUAL_ENV" = "$xfelflow_home" ] && [ -x "$xfelflow_home/bin/python" ] && return
  [ -r "$xfelflow_archive" ] ||
    { _xfelflow_say "$xfelflow_archive cannot be read: run xfelflow pack-env again"; return 1; }
  # A batch script has no step; an interactive one has a number near 2^32.
  case ${SLURM_JOB_ID:+job}${SLURM_STEP_ID:-} in
    job | job42949672??) xfelflow_user=job.$SLURM_JOB_ID; _xfelflow_broadcast || return 1 ;;
    *) xfelflow_user=process.$$; _xfelflow_enter "$xfelflow_user" "$xfelflow_archive" unknown || return 1 ;;
  esac
  export VIRTUAL_ENV="$xfelflow_home" PATH="$xfelflow_home/bin:$PATH"
  unset PYTHONHOME PYTHONPATH
  eval "set -- $(trap -p EXIT)" # the trap that is there goes first
  trap "${3:+$3; }xfelflow_leave" EXIT
}

if [ "${BASH_SOURCE[0]}" != "$0" ]; then
  _xfelflow_activate
else
  case $1 in
    enter) _xfelflow_enter "$2" "$3" "$4"; result=$?; rm -f "$3"; exit $result ;;
    leave) _xfelflow_leave "$2" ;;
    *) echo "use it in a batch script: source $0" >&2; exit 2 ;;
  esac
fi
